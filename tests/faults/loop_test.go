package faults

import (
	"fmt"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// A loop that no address gives away: one account, two proxies, each of which the other is a mailhost of. It
// ends by its length, the client is told to come later, and the proxies go on.
func TestLoop(t *testing.T) {
	const left, right = "127.0.8.1", "127.0.8.2"
	both := fmt.Sprintf("mailhost=%s;%s", left, right)
	harness.Userdb(t, harness.Account{Name: "round", Password: "pw", Options: both},
		harness.Account{Name: "roundgood", Password: "pw", Options: both + ";" + good},
		harness.Account{Name: "good", Password: "pw", Options: "mailhost=" + good})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.EachFrontEnd(t, func(t *testing.T, m *harness.Mode) {
		for _, p := range protocols {
			t.Run(p.Name, func(t *testing.T) {
				env := harness.Env{}
				if p.Name == "POP3" { // IMAP's greeting says that it is a proxy, POP3's does not
					env["PROXY_FORWARD_CLIENT"] = "XCLIENT"
				}
				fronts := []*harness.Proxy{p.front(t, m, left, env), p.front(t, m, right, env)}
				works := p.Mailhost + echo
				if p.Name == "POP3" {
					works = strings.Replace(works, "C~ USER", "C~ XCLIENT .*\nS: +OK\nC~ USER", 1)
				}
				harness.NewFakeMailhost(t, p.At(good), harness.Scripted(t, 0, works))
				for _, addr := range []string{left, right} {
					p.attempt(t, addr, "round", temporary, "good")
				}
				hops := 0
				for _, front := range fronts {
					front.Log(p.Name).Wait(t, "user=round: .*: proxying loop refused$")
					hops += len(front.Log(p.Name).Find("LOGIN FAILED|temporary failure|user=round: "))
				}
				if hops == 0 || hops > 40 {
					t.Errorf("%d lines in the logs", hops)
				}
				p.attempt(t, left, "roundgood", loggedIn, "")
				for _, front := range fronts {
					front.Idle(t)
				}
			})
		}
	})
}
