package verify

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// A client that hangs up while its login is held frees its place, of which there are HOLD_MAX: with TLS or
// without, with more to say or not. The next one waits there, and is let in at release.
func TestHeldClientHangsUp(t *testing.T) {
	set := func(option string) {
		harness.Userdb(t, harness.Account{Name: "ann", Password: "secret", Options: "mailhost=" + oldHost + option})
	}
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	hosts := takesAll(t, oldHost)
	pki := harness.NewPKI(t)
	pair := pki.File(t, "proxy.pem", testcert.Spec{Name: "proxy", Names: []string{proxy}})
	harness.EachFrontEnd(t, func(t *testing.T, m *harness.Mode) {
		set(",hold=50")
		asked := connections(hosts)
		p := m.Start(t, harness.ProxyOptions{Addr: proxy, TLS: true, Env: harness.Env{
			"HOLD_MAX": "1", "TLS_CERTFILE": pair, "TLS_CACHEFILE": ""}})
		for _, protocol := range []string{"IMAP", "POP3"} {
			ports := []*harness.Log{p.Log(protocol), p.Log(protocol + "S")}
			if !m.Launched() {
				ports = ports[:1] // one process for both
			}
			lines := func(expr string) (n int) {
				for _, log := range ports {
					n += len(log.Find(expr))
				}
				return n
			}
			more := func(before int, expr string) {
				t.Helper()
				if !harness.Eventually(func() bool { return lines(expr) > before }) {
					t.Fatalf("%s: no further line %q", protocol, expr)
				}
			}
			for _, c := range []struct{ port, says string }{
				{protocol, ""}, {protocol + "S", ""}, {protocol, "z NOOP\r\n"}, {protocol + "S", "z NOOP\r\n"},
			} {
				held := lines("LOGIN HELD, user=ann, ")
				first := ask(t, p, c.port)
				// A place that a client before has left is free within a second.
				if !harness.Eventually(func() bool {
					if lines("LOGIN HELD, user=ann, ") == held && first.refused() {
						first = ask(t, p, c.port)
					}
					return lines("LOGIN HELD, user=ann, ") > held
				}) {
					t.Fatalf("%s: the place is not free", c.port)
				}
				if !m.Launched() {
					full := lines("HOLD_MAX=1 logins wait already")
					want := map[string]string{"IMAP": "NO [INUSE] ", "POP3": "-ERR [IN-USE] "}[protocol]
					if got := login(t, p, protocol, "ann", "secret"); !strings.HasPrefix(got, want) {
						t.Errorf("%s: beyond HOLD_MAX: %s", protocol, got)
					}
					more(full, "HOLD_MAX=1 logins wait already")
				}
				_, _ = io.WriteString(first.conn, c.says)
				first.conn.Close()
			}
			if m.Launched() {
				p.Idle(t)
			}
		}
		if n := connections(hosts) - asked; n > 0 {
			t.Errorf("the mailhost was asked %d times", n)
		}
		set("")
		for _, protocol := range []string{"IMAP", "POP3"} {
			if got := login(t, p, protocol, "ann", "secret"); !isIn(got) {
				t.Errorf("%s: after the release: %s", protocol, got)
			}
		}
	})
}

// client is one that has sent its name and password.
type client struct {
	conn   net.Conn
	answer chan string // to the login; "" = there was none
}

// ask logs in and does not wait for the answer.
func ask(t *testing.T, p *harness.Proxy, port string) *client {
	t.Helper()
	var conn net.Conn = harness.Connect(t, p.At(port))
	_ = conn.SetDeadline(time.Now().Add(2 * harness.Patience))
	if strings.HasSuffix(port, "S") {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	r := bufio.NewReader(conn)
	commands := []string{"a LOGIN ann secret"}
	if strings.HasPrefix(port, "POP3") {
		commands = []string{"USER ann", "PASS secret"}
	}
	for _, command := range commands {
		_, err := r.ReadString('\n')
		if err == nil {
			_, err = io.WriteString(conn, command+"\r\n")
		}
		if err != nil {
			t.Fatalf("%s: %v", port, err)
		}
	}
	c := &client{conn, make(chan string, 1)}
	go func() {
		text, _ := r.ReadString('\n')
		c.answer <- text
	}()
	return c
}

// refused says whether the client has been told no.
func (c *client) refused() bool {
	select {
	case text := <-c.answer:
		return text != ""
	default:
		return false
	}
}
