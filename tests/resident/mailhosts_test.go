package resident

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

const (
	mailhostsAddr = "127.0.1.3"
	badHost       = "127.0.0.21"
	goodHost      = "127.0.0.22"
)

// mailhostAccounts makes an account on each of the two mailhosts, and one on both.
func mailhostAccounts(t *testing.T) {
	harness.Userdb(t,
		harness.Account{Name: "bad", Password: "pw", Options: "mailhost=" + badHost},
		harness.Account{Name: "good", Password: "pw", Options: "mailhost=" + goodHost},
		harness.Account{Name: "both", Password: "pw", Options: "mailhost=" + badHost + ";" + goodHost},
	)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
}

// Whatever is wrong with a mailhost, logins at others go on meanwhile: as many as may be are under way there
// and wait, the rest is told to come back, and when it has turned out to be down nobody goes there any more.
func TestMailhostThatIsDownHoldsUpNobody(t *testing.T) {
	mailhostAccounts(t)
	for _, p := range protocols {
		for kind, start := range map[string]func(t *testing.T, addr string) (stop func()){
			"silent": func(t *testing.T, addr string) func() { return newServer(t, addr, silent).stop },
			"deaf":   func(t *testing.T, addr string) func() { return harness.Deaf(t, addr) },
		} {
			t.Run(p.Name+"/"+kind, func(t *testing.T) { p.holdsUpNobody(t, start(t, p.At(badHost))) })
		}
	}
}

func (p protocol) holdsUpNobody(t *testing.T, stop func()) {
	const places = 4
	newServer(t, p.At(goodHost), p.serve)
	front := harness.Resident().Start(t, harness.ProxyOptions{
		Addr: mailhostsAddr, Protocols: []string{p.Name},
		Env: harness.Env{
			"PROXY_MAILHOST_LOGINS": fmt.Sprint(places), "PROXY_MAILHOST_RETRY": "3600", "LOGIN_TIMEOUT": "300",
			"PROXY_CONNECT_TIMEOUT": "300", "PROXY_LOGIN_TIMEOUT": "300",
		},
	})
	const held, more = 3 * places, 8
	answers := make(chan error, held+more)
	for range held + more {
		go func() { answers <- p.loginOnce(front.At(p.Name), "bad") }()
	}
	toldToComeBack(t, answers, more)
	// All that the mailhost holds up is these logins.
	for _, user := range []string{"good", "good", "good"} {
		p.allGetIn(t, front, user, 10)
	}
	if n := len(answers); n != 0 {
		t.Errorf("%d logins at a mailhost that says nothing were answered", n)
	}
	log := front.Log(p.Name)
	log.WaitN(t, 1, "^WARN: MAILHOST BUSY, mailhost="+badHost+", address="+p.At(badHost)+
		", turned-away=1: PROXY_MAILHOST_LOGINS=4$")
	log.WaitN(t, 0, "MAILHOST DOWN")

	stop()
	toldToComeBack(t, answers, held)
	log.WaitN(t, 1, "^WARN: MAILHOST DOWN, mailhost="+badHost+", address="+p.At(badHost)+", step=")
	for range 20 {
		answers <- p.loginOnce(front.At(p.Name), "bad")
		toldToComeBack(t, answers, 1)
	}
	p.allGetIn(t, front, "both", 10)
	log.WaitN(t, 10, "LOGIN, user=both,")
	// At the third failure the other places may be taken, by logins that have begun meanwhile. Those that did
	// not go there have no line.
	if lines := log.Find("WARN: .*step=.*, user="); len(lines) < 3 || len(lines) > 3+places-1 {
		t.Errorf("%d logins have tried a mailhost that is down:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	log.WaitN(t, 1, "MAILHOST [^B]") // BUSY is said once a minute
}

// toldToComeBack expects that n logins are told to come back later.
func toldToComeBack(t *testing.T, answers <-chan error, n int) {
	t.Helper()
	deadline := time.After(harness.Patience)
	for i := range n {
		select {
		case err := <-answers:
			if _, later := err.(comeBackLater); !later {
				t.Fatalf("a login that cannot be: %v", err)
			}
		case <-deadline:
			t.Fatalf("%d logins were answered, want %d", i, n)
		}
	}
}

// allGetIn logs n clients in at once.
func (p protocol) allGetIn(t *testing.T, front *harness.Proxy, user string, n int) {
	t.Helper()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if err := p.loginOnce(front.At(p.Name), user); err != nil {
				t.Errorf("%s: %v", user, err)
			}
		})
	}
	all.Wait()
}

// A mailhost that refuses connections is tried now and then, and taken again when it answers. The log has a
// line for each, and for the logins that tried, and none for those that did not.
func TestMailhostComesBack(t *testing.T) {
	mailhostAccounts(t)
	for _, p := range protocols {
		t.Run(p.Name, func(t *testing.T) {
			front := harness.Resident().Start(t, harness.ProxyOptions{
				Addr: mailhostsAddr, Protocols: []string{p.Name}, Env: harness.Env{"PROXY_MAILHOST_RETRY": "1"},
			})
			log := front.Log(p.Name)
			logIn := func() error { return p.loginOnce(front.At(p.Name), "bad") }
			const own = "^WARN: Connection to proxyhost .*step=connect, user=bad: connection refused"
			logins := 0
			// Three to make it down, some that are not tried, and one that tries again.
			for ; len(log.Find(own)) < 4; logins++ {
				if _, later := logIn().(comeBackLater); !later {
					t.Fatal("a login where nobody is")
				}
				if logins == 10_000 {
					t.Fatal("nobody tries again")
				}
			}
			log.WaitN(t, 1, "^WARN: MAILHOST DOWN, mailhost="+badHost+", address="+p.At(badHost)+
				", step=connect: connection refused$")
			newServer(t, p.At(badHost), p.serve)
			if !harness.Eventually(func() bool { logins++; return logIn() == nil }) {
				t.Fatal("nobody goes to a mailhost that is back")
			}
			log.Wait(t, "MAILHOST UP")
			tried := len(log.Find(own)) + 1
			log.WaitN(t, 1, fmt.Sprintf("^NOTICE: MAILHOST UP, mailhost=%s, address=%s, down=[0-9]+, turned-away=%d$",
				badHost, p.At(badHost), logins-tried))
			p.allGetIn(t, front, "bad", 20)
			log.WaitN(t, 1, "MAILHOST DOWN")
			log.WaitN(t, 21, "LOGIN, user=bad,")
			if lines := log.Find("WARN: (Connection|MAILHOST)|NOTICE"); len(lines) != tried-1+2 {
				t.Errorf("%d lines about %d logins that tried:\n%s", len(lines), tried, strings.Join(lines, "\n"))
			}
		})
	}
}
