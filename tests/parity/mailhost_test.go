package parity

import (
	"fmt"
	"testing"

	"mailproxy/tests/harness"
)

// TestIMAPMailhosts logs in at real mailhosts with passwords that need a quoted string or a literal there,
// and compares the capabilities that the client is told (IMAP_PROXY_FOREIGN=2) with what the mailhost itself
// answers after a login.
func TestIMAPMailhosts(t *testing.T) {
	passwords := []string{`sim"ple\`, "gr\u00fc\u00dfe {3}", "\u20ac\u20ac", "a ~}[](*%b"}
	const courier, dovecot = "127.0.0.2", "127.0.0.3"
	homes := map[string]string{}
	var accounts, there []harness.Account
	for i, password := range passwords {
		for _, host := range []string{courier, dovecot} {
			name := fmt.Sprintf("user%d-%s", i, host)
			homes[name] = harness.NewHome(t)
			accounts = append(
				accounts,
				harness.Account{Name: name, Password: password, Home: homes[name], Options: "mailhost=" + host},
			)
			if host == dovecot {
				there = append(there, accounts[len(accounts)-1])
			}
		}
	}
	harness.Userdb(t, accounts...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.CourierMailhost(t, courier)
	harness.Dovecot(t, harness.DovecotOptions{Addr: dovecot, Accounts: there})
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		front := m.Start(t, harness.ProxyOptions{Addr: "127.0.70.1", Protocols: []string{"IMAP"},
			Env: harness.Env{"IMAP_PROXY_FOREIGN": "2"}})
		for _, a := range accounts {
			r := harness.Dial(t, front.At("IMAP"))
			r.MustPlay(t, fmt.Sprintf(`
			S* \* OK .*
			C: a1 LOGIN %s {%d+}
			C: %s
			S~ a1 OK \[CAPABILITY (?P<list>IMAP4rev1 .*)\] connected to proxy server\.
			C: a2 CAPABILITY
			S: * CAPABILITY ${list}
			S* a2 OK .*
			C: a3 LOGOUT
			S* a3 OK .*
			S-`, a.Name, len(a.Password), a.Password))
			r.Conn.Close()
		}
		front.Ends("IMAP").WaitN(t, len(accounts), `^INFO: LOGOUT, user=user.*, mailhost=127\.0\.0\.[23], `)
	})
}
