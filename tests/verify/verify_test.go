// Package verify tests accounts whose mailhost verifies the password, and the other options of accounts, with
// a real Dovecot in each way to run: no wrong password gets in, and a login that is held goes to where the
// account is when it is released.
package verify

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const (
	proxy    = "127.0.1.1"
	oldHost  = "127.0.0.3"
	newHost  = "127.0.0.4"
	reported = "INFO: LOGIN FAILED, user=%s, "
)

// login logs in and returns the answer, without its tag, and the connection, which is closed with the test.
func login(t *testing.T, p *harness.Proxy, protocol, user, password string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", p.At(protocol), harness.Patience)
	if err != nil {
		t.Error(err)
		return ""
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * harness.Patience))
	r := bufio.NewReader(conn)
	commands, final := []string{fmt.Sprintf("a LOGIN %s %q", user, password)}, "a "
	if protocol == "POP3" {
		commands, final = []string{"USER " + user, "PASS " + password}, ""
	}
	text, err := r.ReadString('\n')
	for _, command := range commands {
		if err == nil {
			_, err = conn.Write([]byte(command + "\r\n"))
		}
		for done := false; err == nil && !done; done = strings.HasPrefix(text, final) {
			text, err = r.ReadString('\n')
		}
	}
	if err != nil {
		t.Errorf("%s %s: %v", protocol, user, err)
	}
	return strings.TrimPrefix(strings.TrimSpace(text), final)
}

// isIn says whether an answer is a yes.
func isIn(answer string) bool {
	return strings.HasPrefix(answer, "OK") || strings.HasPrefix(answer, "+OK")
}

func TestVerify(t *testing.T) {
	account := func(name, password, options string) harness.Account {
		return harness.Account{Name: name, Password: password, Options: options}
	}
	harness.Userdb(t,
		account("theirs", "stored", "mailhost="+oldHost+",verify=mailhost"),
		account("ours", "stored", "mailhost="+oldHost+",verify=authlib"),
		account("renamed", "stored", "mailhost="+oldHost+",mailhostuser=other,mailhosttls=NO,verify=mailhost"),
		account("unclear", "stored", "mailhost="+oldHost+",verify=mailhosts"),
		account("here", "stored", "verify=mailhost"))
	withoutHash(t, "hashless", "mailhost="+oldHost)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	dovecot := harness.Dovecot(t, harness.DovecotOptions{Addr: oldHost, Accounts: []harness.Account{
		{Name: "theirs", Password: "right"}, {Name: "ours", Password: "stored"}, {Name: "other", Password: "right"},
		{Name: "here", Password: "right"}, {Name: "stranger", Password: "right"},
		{Name: "unclear", Password: "stored"}, {Name: "hashless", Password: "right"}},
		// Guesses, all from this proxy's address, are not answered later and later.
		Extra: "service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}"})
	in := map[string]bool{"theirs right": true, "ours stored": true, "renamed right": true}
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		for _, setting := range []string{"AUTHLIB", "MAILHOST"} {
			t.Run(setting, func(t *testing.T) {
				p := m.Start(t, harness.ProxyOptions{Addr: proxy, Env: harness.Env{"PROXY_VERIFY": setting}})
				for _, protocol := range []string{"IMAP", "POP3"} {
					var users sync.WaitGroup
					for _, user := range []string{"theirs", "ours", "renamed", "hashless", "unclear", "here",
						"stranger"} {
						users.Go(func() {
							for _, password := range []string{"right", "stored", "wrong", "right "} {
								got := login(t, p, protocol, user, password)
								want := in[user+" "+password] ||
									setting == "MAILHOST" && user+password == "hashlessright"
								if isIn(got) != want {
									t.Errorf("%s %s %q: %s", protocol, user, password, got)
								}
							}
						})
					}
					users.Wait()
					for user, n := range map[string]int{"theirs": 3, "ours": 3, "renamed": 3, "stranger": 4} {
						p.Log(protocol).WaitN(t, n, fmt.Sprintf(reported, user))
					}
					for _, user := range []string{"here", "unclear"} {
						if lines := p.Log(protocol).Find(fmt.Sprintf(reported, user)); len(lines) > 0 {
							t.Errorf("%s: %q", user, lines)
						}
					}
				}
			})
		}
	})
	if lines := dovecot.Log.Find("user=<(stranger|here|unclear)>"); len(lines) > 0 {
		t.Errorf("the mailhost was asked for names that are not its: %q", lines)
	}
}

// withoutHash adds an account to userdb that has no password there: a map of names and mailhosts is enough
// where the mailhosts verify the passwords.
func withoutHash(t *testing.T, name, options string) {
	t.Helper()
	const path = "/etc/courier/userdb"
	text := harness.ReadFile(t, path)
	harness.UserdbText(t, text+name+"\tuid=8|gid=8|home=/nonexistent|options="+options+"\n")
	harness.Run(t, "", "/usr/sbin/makeuserdb")
}

// heldLogin is a login that waits, and what is answered to it.
type heldLogin struct {
	way, protocol, user string
	proxy               *harness.Proxy
	answer              chan string
}

// A held login goes to the new mailhost when it is released, in each way to run and from either daemon. All
// wait at the same time.
func TestHold(t *testing.T) {
	var accounts []harness.Account
	for n := range 2 * len(harness.Modes) {
		accounts = append(accounts, harness.Account{Name: fmt.Sprintf("ann%d", n), Password: "secret"})
	}
	set := func(options string) {
		userdb := slices.Clone(accounts)
		for i := range userdb {
			userdb[i].Options = options
		}
		harness.Userdb(t, userdb...)
	}
	set("mailhost=" + oldHost + ",hold=50")
	before := harness.Dovecot(t, harness.DovecotOptions{Addr: oldHost, Accounts: accounts})
	after := harness.Dovecot(t, harness.DovecotOptions{Addr: newHost, Accounts: accounts})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	ours := harness.Authdaemond(t, "authuserdb", harness.Env{"AUTH_CACHE_TTL": "600"})
	// A busy machine needs seconds for a login, but not as many as this.
	const timeout = 15 * time.Second
	modes := harness.AllModes(t)
	var logins []*heldLogin
	for d, daemon := range []string{"Courier's", "ours"} {
		env := harness.Env{"LOGIN_TIMEOUT": fmt.Sprint(timeout.Seconds())}
		if daemon == "ours" {
			env["AUTHDAEMON_SOCKET"] = ours.Socket
		}
		for i, m := range modes {
			protocol, n := []string{"IMAP", "POP3"}[(d+i)%2], len(logins)
			logins = append(logins, &heldLogin{
				way: daemon + ", " + m.Name + ", " + protocol, protocol: protocol, user: accounts[n].Name,
				proxy: m.Start(t, harness.ProxyOptions{
					Addr: fmt.Sprintf("127.0.1.%d", n+1), Protocols: []string{protocol}, Env: env,
				}),
				answer: make(chan string, 1),
			})
		}
	}
	for _, l := range logins {
		go func() { l.answer <- login(t, l.proxy, l.protocol, l.user, "secret") }()
	}
	for _, l := range logins {
		l.proxy.Log(l.protocol).Wait(t, "LOGIN HELD, user="+l.user+", ")
	}
	time.Sleep(timeout + time.Second) // the time that must not count
	for _, l := range logins {
		if len(l.answer) > 0 {
			t.Fatalf("%s: answered while it is held: %s", l.way, <-l.answer)
		}
	}
	set("mailhost=" + newHost)
	for _, l := range logins {
		t.Run(l.way, func(t *testing.T) {
			if got := <-l.answer; !isIn(got) {
				t.Fatal(got)
			}
			l.proxy.Log(l.protocol).Wait(t, "LOGIN RELEASED, user="+l.user+", ")
			after.Log.Wait(t, "Login: user=<"+l.user+">")
		})
	}
	if lines := before.Log.Find("Login: user="); len(lines) > 0 {
		t.Errorf("the old mailhost was logged in to: %q", lines)
	}
}
