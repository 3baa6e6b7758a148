package launch

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// install puts the programs and the configuration where the files in etc/ expect them. Certificates and
// delays are the tests' own.
func install(t *testing.T) (etc string) {
	t.Helper()
	overlay(t, "/etc", "/usr/sbin")
	etc = filepath.Join(harness.Root(t), "etc")
	// The samples are for an installation without Courier; these tests have Courier's authdaemond.
	if err := os.Symlink("/run/courier/authdaemon", "/run/mailproxy/authdaemon"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove("/run/mailproxy/authdaemon") })
	if err := os.Mkdir("/etc/mailproxy", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, s := range sides {
		harness.Run(t, "", "install", "-m", "0755", harness.Bin(t, s.Program), "/usr/sbin/"+s.Program)
		for _, name := range []string{s.Config, s.Config + "-ssl"} {
			harness.WriteFile(t, "/etc/mailproxy/"+name, harness.Source(t, "etc/"+name)+"LOGIN_FAIL_DELAY=0\n", 0o644)
		}
		harness.Run(t, "", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
			"-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", "/tmp/key.pem", "-out", "/tmp/cert.pem")
		harness.WriteFile(t, "/etc/mailproxy/"+s.Config+".pem",
			harness.ReadFile(t, "/tmp/cert.pem")+harness.ReadFile(t, "/tmp/key.pem"), 0o600)
	}
	return etc
}

// xinetd with the entries of etc/xinetd.d as they are, on both ports.
func TestXinetdSamples(t *testing.T) {
	etc := install(t)
	world(t)
	for _, s := range sides {
		t.Run(s.Name, func(t *testing.T) {
			log := harness.Syslog(t)
			conf := "defaults\n{\n}\n" + harness.ReadFile(t, filepath.Join(etc, "xinetd.d", s.Program))
			// The Courier mailhost has these ports on an address of its own.
			conf = strings.ReplaceAll(conf, "\twait  ", "\tbind            = "+proxy+"\n\twait  ")
			harness.XinetdConf(t, filepath.Join(harness.Dir(t), "xinetd.conf"), conf, s.At(proxy),
				fmt.Sprintf("%s:%d", proxy, s.TLSPort))
			s.sessions(t, s.At(proxy))
			s.wantLog(t, log, "::ffff:127.0.0.1")
			s.overTLS(t)
			log.WaitN(t, 1, `LOGIN, user=there, .*, (starttls|stls)=1$`)
		})
	}
}

// systemd's units as they are, as far as systemd-socket-activate goes: the command line, the environment and
// what standard input is.
func TestSystemdSamples(t *testing.T) {
	etc := install(t)
	world(t)
	for _, s := range sides {
		for _, unit := range []struct {
			name string
			port int
		}{{s.Program, s.Port}, {s.Program + "-ssl", s.TLSPort}} {
			socket := harness.ReadFile(t, filepath.Join(etc, "systemd", unit.name+".socket"))
			service := harness.ReadFile(t, filepath.Join(etc, "systemd", unit.name+"@.service"))
			if got := unitSetting(socket, "ListenStream"); !slices.Equal(got, []string{fmt.Sprint(unit.port)}) {
				t.Errorf("%s listens on %q", unit.name, got)
			}
			if !strings.Contains(socket, "\nAccept=yes\n") || !strings.Contains(service, "\nStandardInput=socket\n") {
				t.Errorf("%s is not for one process a connection", unit.name)
			}
			env := harness.Env{}
			for _, e := range unitSetting(service, "Environment") {
				name, value, _ := strings.Cut(e, "=")
				env[name] = value
			}
			command := strings.Fields(strings.TrimPrefix(unitSetting(service, "ExecStart")[0], "-"))
			p := harness.SystemdAccept(t, harness.Listen{Addr: proxy, Port: unit.port, Env: env, Program: command},
				true)
			if unit.port != s.Port {
				s.overTLS(t)
				p.Log.WaitN(t, 1, `LOGIN, user=there, .*, (starttls|stls)=1$`)
				continue
			}
			s.sessions(t, s.At(proxy))
			s.wantLog(t, p.Log, "::ffff:127.0.0.1")
		}
	}
}

// unitSetting returns the values of a setting in a unit file.
func unitSetting(text, name string) (values []string) {
	for _, m := range regexp.MustCompile(`(?m)^`+name+`=(.*)$`).FindAllStringSubmatch(text, -1) {
		values = append(values, m[1])
	}
	return values
}

// overTLS holds a session of each account over TLS from the first byte, with curl.
func (s side) overTLS(t *testing.T) {
	t.Helper()
	for _, name := range []string{"there", "here"} {
		url := fmt.Sprintf("%ss://%s:%d/", strings.ToLower(s.Name), proxy, s.TLSPort)
		if s.Name == "IMAP" {
			url += "INBOX?ALL"
		}
		if out := harness.Run(t, "", "curl", "-sSk", "--max-time", "20", "-u", name+":pw", url); !strings.Contains(
			out, "1") {
			t.Errorf("%s %s: %q", url, name, out)
		}
	}
}
