package verify

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// An account's own encryption, port and name at its mailhost, whatever PROXY_TLS says, and what its
// certificate must be good for.
func TestMailhostTLS(t *testing.T) {
	const right, wrong = "mail.example", "another.example"
	harness.Hosts(t, oldHost+" "+right, oldHost+" "+wrong)
	accounts := []struct {
		name, host, options string
		way                 string // that the login goes; "" = as PROXY_TLS says
	}{
		{"usual", right, "", ""},
		{"clear", right, ",mailhosttls=NO,mailhostuser=box.clear", "NO"},
		{"starttls", right, ",mailhosttls=STARTTLS,mailhostuser=box.starttls", "STARTTLS"},
		{"tls", right, ",mailhosttls=YES,mailhostuser=box.tls", "YES"},
		{"empty", right, ",mailhosttls=,mailhostuser=", ""},
		{"port", right + ":${TLSPORT}", ",mailhosttls=YES", "YES"},
		{"another-usual", wrong, "", ""},
		{"another-clear", wrong, ",mailhosttls=NO", "NO"},
		{"another-starttls", wrong, ",mailhosttls=STARTTLS", "STARTTLS"},
		{"another-tls", wrong, ",mailhosttls=YES", "YES"},
	}
	ports := map[string]map[string]string{
		"IMAP": {"NO": "143", "STARTTLS": "143", "YES": "993"}, "POP3": {"NO": "110", "STARTTLS": "110",
			"YES": "995"},
	}
	var theirs []harness.Account
	for _, a := range accounts {
		theirs = append(theirs, harness.Account{Name: boxOf(a.name, a.options), Password: "secret"})
	}
	pki := harness.NewPKI(t)
	pair := pki.File(t, "mail.pem", testcert.Spec{Name: right, Names: []string{right}})
	dovecot := harness.Dovecot(t, harness.DovecotOptions{Addr: oldHost, Accounts: theirs, CertFile: pair,
		KeyFile: pair, MasterUsers: []harness.Account{{Name: "master", Password: "master secret"}},
		Extra: "login_log_format_elements = user=<%u> port=%{lport} %c"})
	secret := testcert.Write(t, pki.Dir+"/master", []byte("master secret\n"))
	harness.Readable(t, secret)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.EachFrontEnd(t, func(t *testing.T, m *harness.Mode) {
		for i, setting := range []harness.Env{
			{"PROXY_TLS": "NO"}, {"PROXY_TLS": "YES"},
			{"PROXY_TLS": "STARTTLS", "PROXY_TLS_VERIFYPEER": "NONE"},
			{"PROXY_TLS": "NO", "PROXY_MASTER_USER": "master", "PROXY_MASTER_PASSWORD_FILE": secret},
		} {
			p := m.Start(t, harness.ProxyOptions{Addr: fmt.Sprintf("127.0.1.%d", i+1), Env: setting.With(harness.Env{
				"PROXY_TLS_TRUSTCERTS": pki.Trust})})
			for protocol, ports := range ports {
				var ours []harness.Account
				for _, a := range accounts {
					host := strings.ReplaceAll(a.host, "${TLSPORT}", ports["YES"])
					ours = append(ours, harness.Account{Name: a.name, Password: "secret",
						Options: "mailhost=" + host + a.options})
				}
				harness.Userdb(t, ours...)
				lines := func(i int) string {
					return "Login: user=<" + regexp.QuoteMeta(theirs[i].Name) + ">"
				}
				before, got := make([]int, len(accounts)), make([]string, len(accounts))
				var clients sync.WaitGroup
				for i, a := range accounts {
					before[i] = len(dovecot.Log.Find(lines(i)))
					clients.Go(func() { got[i] = login(t, p, protocol, a.name, "secret") })
				}
				clients.Wait()
				for i, a := range accounts {
					what := fmt.Sprintf("%v, %s, %s", setting, protocol, a.name)
					way := a.way
					if way == "" {
						way = setting["PROXY_TLS"]
					}
					trusted := a.host != wrong || way == "NO" || setting["PROXY_TLS_VERIFYPEER"] == "NONE"
					switch {
					case isIn(got[i]) != trusted:
						t.Errorf("%s: %s", what, got[i])
					case !trusted:
						p.Log(protocol).Wait(t, "WARN: .*, address="+oldHost+":"+ports[way]+", step=tls, user="+a.name+
							": .*certificate")
					default:
						line := dovecot.Log.WaitN(t, before[i]+1, lines(i))[before[i]]
						if !strings.Contains(line, "port="+ports[way]) ||
							strings.Contains(line, "TLS") != (way != "NO") {
							t.Errorf("%s: %s", what, line)
						}
						p.Log(protocol).Wait(t, "INFO: LOGIN, user="+a.name+", ")
					}
				}
			}
		}
	})
}

// boxOf is an account's name at its mailhost.
func boxOf(name, options string) string {
	if _, box, ok := strings.Cut(options, "mailhostuser="); ok && box != "" {
		return box
	}
	return name
}
