package faults

import (
	"fmt"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// serverCase is a login of an account with this option.
type serverCase struct {
	name, mailhost string
	want           outcome
	warnings       []string // in order
}

// Servers that cannot be reached, several servers, several addresses of a name. "good" is a mailhost that
// works, "no" one that rejects, "busy" one with trouble of its own, "closed" an address where nobody listens,
// "deaf" one that does not answer.
func TestServers(t *testing.T) {
	// None fails more than three logins: then a resident front end leaves it out.
	harness.Hosts(
		t,
		"127.0.9.1 closed",
		"127.0.9.2 deaf",
		"127.0.9.3 busy",
		"127.0.9.4 no",
		good+" good",
		"127.0.9.11 two",
		good+" two",
		"127.0.9.2 slow",
		good+" slow",
		"127.0.9.12 none",
		"127.0.9.3 none",
		"127.0.9.4 stop",
		good+" stop",
		"::1 six",
		"127.0.0.1 self",
	)
	cases := []serverCase{
		{"closed", "127.0.9.1", temporary, []string{"step=connect, "}},
		{"deaf", "127.0.9.2", temporary, []string{"step=connect, "}},
		{"unknown", "nowhere.example", temporary, []string{"step=resolve, "}},
		{"v6closed", "six", temporary, []string{"address=[::1]:PORT, step=connect, "}},
		{"port", "127.0.9.4:1", temporary, []string{"address=127.0.9.4:1, step=connect, "}},
		{"loop", "127.0.0.1", temporary, []string{"loop refused"}},
		{"loopname", "self", temporary, []string{"loop refused"}},
		{"badoption", "127.0.9.1:port", temporary, []string{"cannot be proxied"}},
		{"byname", "good", loggedIn, nil},
		{"addresses", "two", loggedIn, []string{"address=127.0.9.11:PORT, step=connect, "}},
		{"slowaddress", "slow", loggedIn, []string{"address=127.0.9.2:PORT, step=connect, "}},
		{
			"alladdresses",
			"none",
			temporary,
			[]string{"address=127.0.9.12:PORT, step=connect, ", "address=127.0.9.3:PORT, step="},
		},
		{"noretry", "stop", refused, []string{"address=127.0.9.4:PORT, step="}},
		{"servers", "closed;good", loggedIn, []string{"address=127.0.9.1:PORT, step=connect, "}},
		{"busyserver", "busy good", loggedIn, []string{"address=127.0.9.3:PORT, step="}},
		{"slowserver", "deaf;good", loggedIn, []string{"address=127.0.9.2:PORT, step=connect, "}},
		{"unknownserver", "nowhere.example;good", loggedIn, []string{"step=resolve, "}},
		{"rejecting", "no;good", refused, []string{"address=127.0.9.4:PORT, step="}},
		{"loopfirst", "self;good", loggedIn, []string{"loop refused"}},
	}
	accounts := []harness.Account{{Name: "good", Password: "pw", Options: "mailhost=" + good}}
	for _, c := range cases {
		accounts = append(
			accounts,
			harness.Account{Name: c.name, Password: "pw", Options: "mailhost=" + c.mailhost},
		)
	}
	harness.Userdb(t, accounts...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.EachFrontEnd(t, func(t *testing.T, m *harness.Mode) {
		for _, p := range protocols {
			t.Run(p.Name, func(t *testing.T) {
				front := p.front(t, m, control, harness.Env{"PROXY_CONNECT_TIMEOUT": "4"})
				harness.Deaf(t, p.At("127.0.9.2"))
				harness.NewFakeMailhost(t, p.At(good), harness.Scripted(t, 0, p.Mailhost+echo))
				no := map[string]string{
					"IMAP": takesTag + "S: ${tag} NO wrong",
					"POP3": pass3 + "S: -ERR wrong",
				}[p.Name]
				rejecting := harness.NewFakeMailhost(t, p.At("127.0.9.4"), harness.Scripted(t, 0, no))
				busy := map[string]string{
					"IMAP": takesTag + "S: ${tag} NO [UNAVAILABLE] later",
					"POP3": pass3 + "S: -ERR [SYS/TEMP] later",
				}[p.Name]
				harness.NewFakeMailhost(t, p.At("127.0.9.3"), harness.Scripted(t, 0, busy))
				t.Run("cases", func(t *testing.T) {
					for _, c := range cases {
						t.Run(c.name, func(t *testing.T) {
							t.Parallel()
							c.run(t, p, front.Log(p.Name))
						})
					}
				})
				// Two accounts name it, once each: no server is asked twice for one login.
				if n := rejecting.Connections(); n != 2 {
					t.Errorf("%d connections to the server that rejects, want 2", n)
				}
				front.Idle(t)
			})
		}
	})
}

func (c serverCase) run(t *testing.T, p protocol, log *harness.Log) {
	p.attempt(t, control, c.name, c.want, "good")
	lines := log.WaitN(t, len(c.warnings), `^(WARN|ERR|CRIT): .*(user=|account )`+c.name+`:? `)
	for i, want := range c.warnings {
		want = strings.ReplaceAll(want, ":PORT", fmt.Sprintf(":%d", p.Port))
		if !strings.Contains(lines[i], want) {
			t.Errorf("want %q in %q", want, lines[i])
		}
	}
}
