package ops

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// Failed logins, each of them one line for fail2ban. The second user name tries to have somebody else banned.
var refused = map[string][]string{
	"imap": {
		imapFailure("LOGIN user0 wrong", "AUTHENTICATIONFAILED"),
		imapFailure(`LOGIN "x, ip=[192.0.2.1], y" wrong`, "AUTHENTICATIONFAILED"),
		imapFailure("AUTHENTICATE PLAIN "+plain("nobody", "wrong"), "AUTHENTICATIONFAILED"),
	},
	"pop3": {
		pop3Failure(userPass("user0", "wrong"), "AUTH"),
		pop3Failure(userPass("x, ip=[192.0.2.1], y", "wrong"), "AUTH"),
		pop3Failure("AUTH PLAIN "+plain("nobody", "wrong"), "AUTH"),
	},
}

// Logins with a password that is right for the auth module and wrong for the mailhost: not the client's
// fault.
var verified = map[string]string{
	"imap": imapFailure("LOGIN other other", "AUTHENTICATIONFAILED"),
	"pop3": pop3Failure(userPass("other", "other"), "AUTH"),
}

// Failures that are not the client's.
var outage = map[string]string{
	"imap": imapFailure("LOGIN down down", "UNAVAILABLE"),
	"pop3": pop3Failure(userPass("down", "down"), "SYS/TEMP"),
}

// imapFailure is a session whose only login is refused with a response code.
func imapFailure(login, code string) string {
	return "S* \\* OK .*\nC: a " + login + "\nS~ a NO \\[" + code + "\\].*\nC: b LOGOUT\nS* b OK .*\nS-"
}

// pop3Failure is imapFailure's cousin.
func pop3Failure(login, code string) string {
	return "S* \\+OK .*\nC: " + login + "\nS~ -ERR \\[" + code + "\\].*\nC: QUIT\nS* \\+OK.*\nS-"
}

func userPass(user, password string) string {
	return "USER " + user + "\nS* \\+OK .*\nC: PASS " + password
}

func plain(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

// A listener is one of a launcher's services, with the name its lines have in the log.
type listener struct {
	name, protocol string
	listen         harness.Listen
}

// listeners are the four services of an installation on an address, the TLS ones without their TLS: their
// names count here.
func listeners(t *testing.T, ip string, env harness.Env) []listener {
	t.Helper()
	var all []listener
	for i, name := range []string{"imapd", "imapd-ssl", "pop3d", "pop3d-ssl"} {
		l := listener{name, name[:4], harness.Listen{Addr: ip, Port: 2000 + i, Env: harness.Env{}}}
		program := []string{harness.PlainBin(t, "imapd-proxy"), harness.CourierIMAPD, "Maildir"}
		if l.protocol == "pop3" {
			program = []string{harness.PlainBin(t, "pop3d-proxy"), harness.CourierPOP3D, "Maildir"}
		}
		l.listen.Program = program
		l.listen.Env = harness.Env{
			"IMAP_PROXY": "1", "POP3_PROXY": "1", "POP3AUTH": "PLAIN",
			"IMAP_CAPABILITY": "IMAP4rev1 AUTH=PLAIN SASL-IR", "LOGIN_FAIL_DELAY": "0",
		}
		for k, v := range env {
			l.listen.Env[k] = v
		}
		all = append(all, l)
	}
	return all
}

// TestFail2ban: the filter that fail2ban brings along for Courier finds each failed login of both programs
// with the client's address, from every launcher, in each form that a line takes on its way; and nothing
// else.
func TestFail2ban(t *testing.T) {
	there, elsewhere := accounts(1)
	there = append(there, harness.Account{Name: "other", Password: "changed"})
	elsewhere = append(elsewhere,
		harness.Account{Name: "other", Password: "other", Options: "mailhost=" + mailhost},
		harness.Account{Name: "down", Password: "down", Options: "mailhost=127.0.0.99"})
	harness.Userdb(t, elsewhere...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.Dovecot(t, harness.DovecotOptions{Addr: mailhost, Accounts: there,
		// Without its delays for addresses that fail often.
		Extra: "service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}"})
	noAuth := harness.Env{"AUTHDAEMON_SOCKET": "/nonexistent", "AUTHDAEMON_PROGRAM": "/bin/false"}

	// Each launcher starts the services on ip and returns what the log holds, in the forms that fail2ban may
	// read.
	launchers := []struct {
		name  string
		start func(t *testing.T, ip string, env harness.Env) (lines func() map[string][]string)
	}{
		{"couriertcpd", underCouriertcpd},
		{"systemd", underSystemd},
		{"xinetd", underXinetd},
	}
	for n, launcher := range launchers {
		works, broken := fmt.Sprintf("127.0.3.%d", 2*n+1), fmt.Sprintf("127.0.3.%d", 2*n+2)
		t.Run(launcher.name+"/failures", func(t *testing.T) {
			lines := launcher.start(t, works, nil)
			failures := 0
			t.Run("sessions", func(t *testing.T) {
				for _, l := range listeners(t, works, nil) {
					failures += len(refused[l.protocol])
					t.Run(l.name, func(t *testing.T) {
						t.Parallel()
						addr := fmt.Sprintf("%s:%d", works, l.listen.Port)
						for _, dialogue := range append([]string{outage[l.protocol], verified[l.protocol],
							logins[l.protocol].good}, refused[l.protocol]...) {
							play(t, addr, dialogue)
						}
					})
				}
			})
			check(t, lines, failures)
		})
		t.Run(launcher.name+"/outage", func(t *testing.T) {
			lines := launcher.start(t, broken, noAuth)
			for _, l := range listeners(t, broken, nil) {
				play(t, fmt.Sprintf("%s:%d", broken, l.listen.Port), outage[l.protocol])
			}
			check(t, lines, 0)
		})
	}
}

// check waits for the log to hold the failures and asks fail2ban for its opinion of every form of it.
func check(t *testing.T, lines func() map[string][]string, failures int) {
	t.Helper()
	var forms map[string][]string
	complete := func() bool {
		forms = lines()
		for _, log := range forms {
			text := strings.Join(log, "\n")
			// An outage is in the log as such, on each service.
			if strings.Count(text, "LOGIN FAILED, ") < failures ||
				strings.Count(text, "authentication error")+strings.Count(text, "Connection to proxyhost") < 4 {
				return false
			}
		}
		return true
	}
	if !harness.Eventually(complete) {
		t.Fatalf("the log does not hold %d failures and 4 outages: %q", failures, forms)
	}
	for form, log := range forms {
		path := filepath.Join(harness.Dir(t), "mail.log")
		harness.WriteFile(t, path, strings.Join(log, "\n")+"\n", 0o644)
		filter := "courier-auth"
		if form == "journal" {
			filter = "courier-auth[logtype=journal]"
		}
		if failures == 0 {
			// With nothing to print fail2ban-regex says 1 or prints nothing: both will do, its summary must
			// say 0.
			if out := harness.Run(t, "", "sh", "-c", `fail2ban-regex "$1" "$2" || true`, "sh", path,
				filter); !strings.Contains(
				out,
				" 0 matched",
			) {
				t.Errorf("%s: outages look like failed logins:\n%s\n%s", form, out, strings.Join(log, "\n"))
			}
			continue
		}
		hosts := strings.Fields(harness.Run(t, "", "fail2ban-regex", "-o", "<ip>", path, filter))
		if len(hosts) != failures {
			t.Errorf("%s: %d hosts for %d failures in:\n%s", form, len(hosts), failures, strings.Join(log, "\n"))
		}
		for _, host := range hosts {
			if host != client {
				t.Errorf("%s: fail2ban would ban %s", form, host)
			}
		}
	}
}

// inFiles are syslog messages ("<22>Nov 22 18:00:00 imapd: text") as rsyslog writes them: its traditional
// format, and the one with exact times that is its default today.
func inFiles(t *testing.T, log *harness.Log) map[string][]string {
	t.Helper()
	forms := map[string][]string{}
	message := regexp.MustCompile(`^<(\d+)>(\w{3} [ \d]\d \d\d:\d\d:\d\d) (.*)$`)
	for _, line := range log.Find(`.`) {
		m := message.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("not a syslog message: %q", line)
		}
		if !strings.HasPrefix(m[1], "2") && m[1] != "16" && m[1] != "17" && m[1] != "18" &&
			m[1] != "19" { // facility mail: 16 to 23
			t.Errorf("not of facility mail: %q", line)
		}
		forms["traditional"] = append(forms["traditional"], m[2]+" mx1 "+m[3])
		forms["exact"] = append(forms["exact"], time.Now().Format("2006-01-02T15:04:05.000000Z07:00")+" mx1 "+m[3])
	}
	return forms
}

// underCouriertcpd runs couriertcpd with courierlogger as Courier's start scripts do.
func underCouriertcpd(t *testing.T, ip string, env harness.Env) func() map[string][]string {
	log := harness.Syslog(t)
	for _, l := range listeners(t, ip, env) {
		harness.Couriertcpd(
			t,
			harness.TCPD{Addr: ip, Port: l.listen.Port, Env: l.listen.Env, Clean: true, Program: l.listen.Program,
				Options: []string{"-stderrlogger=/usr/sbin/courierlogger", "-stderrloggername=" + l.name}},
		)
	}
	return func() map[string][]string { return inFiles(t, log) }
}

// underXinetd: the programs write to syslog by themselves.
func underXinetd(t *testing.T, ip string, env harness.Env) func() map[string][]string {
	log := harness.Syslog(t)
	// xinetd's own entry has no blanks in env; a file has.
	for _, l := range listeners(t, ip, env) {
		config := filepath.Join(harness.Dir(t), "settings")
		var text strings.Builder
		for name, value := range l.listen.Env {
			fmt.Fprintf(&text, "%s=%q\n", name, value)
		}
		harness.WriteFile(t, config, text.String(), 0o644)
		program := append([]string{l.listen.Program[0], "-config", config}, l.listen.Program[1:]...)
		harness.Xinetd(t, harness.Listen{Addr: ip, Port: l.listen.Port, Program: program})
	}
	return func() map[string][]string { return inFiles(t, log) }
}

// underSystemd runs the programs as the units do: standard error is the journal, which takes the level in
// front away and adds the unit's SyslogIdentifier. fail2ban reads the journal itself, or what rsyslog writes
// of it.
func underSystemd(t *testing.T, ip string, env harness.Env) func() map[string][]string {
	journals := map[string]string{}
	for _, l := range listeners(t, ip, env) {
		unit := map[string]string{"imapd": "imapd-proxy@", "imapd-ssl": "imapd-proxy-ssl@", "pop3d": "pop3d-proxy@",
			"pop3d-ssl": "pop3d-proxy-ssl@"}[l.name]
		text := harness.Source(t, "etc/systemd/"+unit+".service")
		identifier := regexp.MustCompile(`(?m)^SyslogIdentifier=(.*)$`).FindStringSubmatch(text)
		if identifier == nil || !strings.Contains(text, "\nSyslogFacility=mail\n") {
			t.Fatalf("%s: no identifier, or not of facility mail", unit)
		}
		journal := filepath.Join(harness.Dir(t), "journal")
		harness.WriteFile(t, journal, "", 0o644)
		info, err := os.Stat(journal)
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		l.listen.Env["JOURNAL_STREAM"] = fmt.Sprintf("%d:%d", st.Dev, st.Ino)
		l.listen.Program = append([]string{"/bin/sh", "-c", `exec "$@" 2>>` + journal, "sh"}, l.listen.Program...)
		harness.SystemdAccept(t, l.listen, true)
		journals[identifier[1]] = journal
	}
	return func() map[string][]string {
		forms := map[string][]string{}
		for identifier, path := range journals {
			text := harness.ReadFile(t, path)
			for line := range strings.Lines(text) {
				level, message, ok := strings.Cut(strings.TrimSpace(line), ">")
				if !ok || len(level) != 2 {
					t.Fatalf("%s: no level in %q", identifier, line)
				}
				now := time.Now()
				forms["journal"] = append(forms["journal"],
					now.Format("2006-01-02T15:04:05.000000")+" mx1 "+identifier+"[123]: "+message)
				forms["traditional"] = append(forms["traditional"],
					now.Format(time.Stamp)+" mx1 "+identifier+"[123]: "+message)
			}
		}
		return forms
	}
}
