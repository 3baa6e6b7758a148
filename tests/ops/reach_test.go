package ops

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// reach tries from within a unit what somebody who has taken the program over would try next: it prints the
// name of everything that worked.
const reach = `
import os, socket
etc, run = "/etc/mailproxy/", "/run/mailproxy/"
def read(path):
    with open(path) as f: f.read(1)
def ask(kind, path, question):
    s = socket.socket(socket.AF_UNIX, kind)
    s.settimeout(60)
    s.connect(path)
    s.send(question)
    if not s.recv(4096): raise OSError("no answer")
def replace(path):
    os.rename(path, path + ".gone")
    os.rename(path + ".gone", path)
def make(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    os.unlink(path)
lookup = b"PRE . imap ann@example.com\n"
tries = {"ask-authdaemond": lambda: ask(socket.SOCK_STREAM, run + "authdaemon/socket", lookup),
    "ask-authdaemond-persistent": lambda: ask(socket.SOCK_STREAM, run + "authdaemon/socket.persistent", b""),
    "ask-relayd": lambda: ask(socket.SOCK_SEQPACKET, run + "relayd/socket", b"WHO\n\n"),
    "ask-local": lambda: ask(socket.SOCK_STREAM, run + "local/imapd", b"PROXY UNKNOWN\r\n")}
for name in ("imapd", "imapd-ssl", "imapd.pem", "pop3d", "relayd", "authdaemonrc", "authmysqlrc",
    "authpgsqlrc", "authldaprc", "userdb"):
    tries["read-" + name] = lambda path=etc + name: read(path)
for name in "authdaemon", "relayd":
    tries["replace-" + name] = lambda path=run + name + "/socket": replace(path)
    tries["replace-folder-" + name] = lambda path=run + name: replace(path)
for name in "", "authdaemon/", "relayd/", "local/", "authdaemon-metrics/", "relayd-metrics/":
    tries["make-in-" + name] = lambda path=run + name + "new": make(path)
for name, what in tries.items():
    try:
        what()
        print(name)
    except OSError:
        pass
print("end")
`

// testReach: what somebody who takes over one of the processes can reach: only what that process is there
// for.
func (m *machine) testReach(t *testing.T) {
	m.run(t, "systemctl", "start", "mailproxy-authdaemond.service", "mailproxy-relayd.service")
	write(t, m.path("/usr/local/lib/reach.py"), reach, 0o644)
	const python = "/usr/bin/python3 /usr/local/lib/reach.py"
	const login = "/usr/bin/setpriv --reuid=mailproxy-login --regid=mailproxy-login --clear-groups "
	const accounts = "read-authdaemonrc read-authmysqlrc read-authpgsqlrc read-authldaprc read-userdb"
	const everything = "read-imapd read-imapd-ssl read-imapd.pem read-pop3d read-relayd " + accounts +
		" ask-authdaemond ask-authdaemond-persistent ask-relayd" +
		" replace-authdaemon replace-folder-authdaemon replace-relayd replace-folder-relayd" +
		" make-in- make-in-authdaemon/ make-in-relayd/ make-in-local/" +
		" make-in-authdaemon-metrics/ make-in-relayd-metrics/"
	for _, p := range []struct{ name, unit, program, want string }{
		{"relayd", "mailproxy-relayd.service", python, "read-relayd make-in-relayd-metrics/"},
		{"authdaemond", "mailproxy-authdaemond.service", python, "make-in-authdaemon-metrics/ " + accounts},
		{"front end after login", "imapd-proxy@.service", login + python, ""},
		{"front end after login, POP3", "pop3d-proxy@.service", login + python, ""},
		{"front end before login", "imapd-proxy@.service", python, everything},
	} {
		// The filter of system calls is tested elsewhere; here the file system has to say no without it.
		got := m.inUnit(t, p.unit, p.program, `SystemCall\w+`)
		if len(got) == 0 || got[len(got)-1] != "end" {
			t.Fatalf("%s: the program did not come to its end: %q", p.name, got)
		}
		got = got[:len(got)-1]
		want := strings.Fields(p.want)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("somebody who takes over %s can\n%q, want\n%q", p.name, got, want)
		}
	}
}

// inUnit runs a program in the place of a unit's own, with the unit's user and restrictions, but for the
// settings that without fits, and returns the lines of its output.
func (m *machine) inUnit(t *testing.T, unit, program, without string) []string {
	t.Helper()
	tag := "probe-" + strings.Trim(regexp.MustCompile(`\W+`).ReplaceAllString(unit+" "+program, "-"), "-")
	text := m.read(t, "/usr/lib/systemd/system/"+unit)
	drop := `ExecStart|ExecReload|ExitType|Standard\w+|Type|NotifyAccess|Restart|Requires`
	if without != "" {
		drop += "|" + without
	}
	text = regexp.MustCompile(`(?m)^(`+drop+`)=.*\n`).ReplaceAllString(text, "")
	own := "[Service]\nType=oneshot\nStandardOutput=journal\nExecStart=" + program + "\n"
	text = strings.Replace(text, "[Service]\n", own, 1)
	text = regexp.MustCompile(`(?m)^SyslogIdentifier=.*$`).ReplaceAllString(text, "SyslogIdentifier="+tag)
	write(t, m.path("/run/systemd/system/probe.service"), text, 0o644)
	m.run(t, "systemctl", "daemon-reload")
	m.run(t, "systemctl", "start", "probe.service")
	m.run(t, "journalctl", "--sync")
	var lines []string
	for _, e := range m.journal(t, "-t", tag) {
		lines = append(lines, e.Message)
	}
	return lines
}
