// Package moving runs docs/moving.md: the commands of the page, in their order, move mailboxes from one real
// server to another and back, in each way to run the proxies, while clients are logged in and mail comes in.
package moving

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const (
	oldHost  = "127.0.0.3"
	newHost  = "127.0.0.4"
	secret   = "secret"
	longHold = 50 // what the page has; nobody is told to come later then
	cacheTTL = 1  // AUTH_CACHE_TTL, seconds
	// loginTimeout is LOGIN_TIMEOUT in seconds, the longer of the two that the page says to wait.
	loginTimeout = 3
)

// move is an account that is moved by the page.
type move struct {
	page     harness.Page
	used     *used
	files    *sync.Mutex // of files with all accounts
	user     string
	from, to *harness.DovecotServer
	commands string // the directory of the page's commands
	proxy    *harness.Proxy
	mail     *mail
	sessions []*session
	gone     int // messages that the user has taken out of the INBOX

	hold int           // seconds
	back bool          // the account moves back afterwards
	held time.Duration // for how long it was
}

func TestMove(t *testing.T) {
	p := harness.ReadPage(t, "moving.md")
	var accounts, elsewhere []harness.Account
	for n := range harness.Modes {
		a := harness.Account{Name: fmt.Sprintf("ann%d@example.com", n), Password: secret}
		accounts = append(accounts, a)
		a.Options = "mailhost=" + oldHost
		elsewhere = append(elsewhere, a)
	}
	harness.UserdbTextOnly(t, elsewhere...)
	daemon := harness.PlainAuthdaemond(t, "authuserdb", harness.Env{"AUTH_CACHE_TTL": fmt.Sprint(cacheTTL)})
	marks := new(used)
	marks.note("conf doveadm")
	servers := map[string]*harness.DovecotServer{}
	for _, addr := range []string{oldHost, newHost} {
		servers[addr] = harness.Dovecot(t, harness.DovecotOptions{Addr: addr, Accounts: accounts,
			Extra: p.Block(t, "conf doveadm") + "protocol pop3 {\n  pop3_no_flag_updates = yes\n}\n"})
	}
	var files sync.Mutex
	t.Run("modes", func(t *testing.T) {
		for n, m := range harness.AllModes(t) {
			t.Run(m.Name, func(t *testing.T) {
				t.Parallel()
				v := &move{page: p, used: marks, files: &files, user: accounts[n].Name, from: servers[oldHost],
					to: servers[newHost], hold: longHold, back: !m.Launched() && m.Relayd == nil}
				if m.Relayd != nil {
					v.hold = 2
				}
				v.proxy = m.Start(t, harness.ProxyOptions{Addr: fmt.Sprintf("127.0.1.%d", n+1), Admin: true,
					Shipped: true, Env: harness.Env{"AUTHDAEMON_SOCKET": daemon.Socket,
						"LOGIN_TIMEOUT": fmt.Sprint(loginTimeout)}})
				v.install(t, v.proxy, daemon.Socket)
				v.test(t)
			})
		}
	})
	marks.all(t, p)
}

// test moves the account there and back, with mail coming in, programs that fetch it, and sessions that stay.
func (v *move) test(t *testing.T) {
	v.fill(t)
	v.mail = startMail(t.Context(), v.user, v.route(t, v.from.Addr), v.from, v.to)
	ctx, leave := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	stay := func(run func(context.Context)) {
		clients.Add(1)
		go func() { defer clients.Done(); run(ctx) }()
	}
	defer clients.Wait()
	defer leave()
	for _, protocol := range []string{"IMAP", "POP3"} {
		s := &session{protocol: protocol, addr: v.proxy.At(protocol), user: v.user}
		v.sessions = append(v.sessions, s)
		stay(s.stay)
	}
	fetchers := []*fetcher{newMbsync(t, v.proxy.At("IMAP"), v.user), newMpop(t, v.proxy.At("POP3"), v.user)}
	for _, f := range fetchers {
		stay(f.stay)
	}

	v.move(t)
	if v.back {
		v.from, v.to = v.to, v.from
		v.move(t)
	}

	delivered := v.mail.end(t)
	final := look(t, v.proxy.At("IMAP"), v.user, "INBOX")
	once(t, "INBOX", final.subjects, delivered)
	if n := len(delivered) + initial - v.gone; len(final.subjects) != n {
		t.Errorf("%d messages, not %d", len(final.subjects), n)
	}
	for _, f := range fetchers {
		f.wait(t, delivered)
	}
	leave()
	clients.Wait()
	for _, f := range fetchers {
		once(t, f.name, f.subjects(t), delivered)
		for _, p := range f.problems {
			t.Errorf("%s: %s", f.name, p)
		}
	}
	for _, s := range v.sessions {
		for _, p := range s.problems {
			t.Errorf("%s: %s", s.protocol, p)
		}
		if v.hold == longHold && s.later > 0 && v.held < longHold*time.Second/2 {
			t.Errorf("%s: told to come later %d times", s.protocol, s.later)
		}
	}
	v.tooLate(t)
}
