package session

import (
	"encoding/base64"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"mailproxy/tests/clients"
	"mailproxy/tests/harness"
)

// wiretap passes connections to "ip:port" on and records what clients say.
type wiretap struct {
	mu    sync.Mutex
	said  strings.Builder
	conns int
}

// Write implements io.Writer for what a client says.
func (w *wiretap) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.Write(p)
}

func (w *wiretap) heard() (said string, connections int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.String(), w.conns
}

func tap(t *testing.T, addr, to string) *wiretap {
	t.Helper()
	w := &wiretap{}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.conns++
			w.mu.Unlock()
			far, err := net.Dial("tcp", to)
			if err != nil {
				conn.Close()
				continue
			}
			go func() {
				defer far.Close()
				_, _ = io.Copy(io.MultiWriter(far, w), conn)
			}()
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, far)
			}()
		}
	}()
	return w
}

// Where TLS is required and the client is told to do without, no client that reads capabilities sends a
// password in clear.
func TestNoPasswordBeforeTLS(t *testing.T) {
	const user, password = "joe", "in-the-clear"
	harness.Userdb(t, harness.Account{Name: user, Password: password, Home: harness.NewHome(t)})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	env := harness.Env{
		"IMAP_TLS_REQUIRED": "1", "POP3_TLS_REQUIRED": "1", "IMAP_STARTTLS": "NO", "POP3_STARTTLS": "NO",
		"IMAP_CAPABILITY": "IMAP4rev1 AUTH=PLAIN AUTH=LOGIN SASL-IR", "POP3AUTH": "PLAIN LOGIN",
	}
	harness.IMAPUnderCourier(t, "127.0.21.1", harness.Bin(t, "imapd-proxy"), env)
	harness.POP3UnderCourier(t, "127.0.21.1", harness.Bin(t, "pop3d-proxy"), env)
	for _, c := range clients.All() {
		if c.Name == "imaplib" {
			continue // it sends LOGIN whatever the list says
		}
		port := map[string]string{"IMAP": ":143", "POP3": ":110"}[c.Protocol]
		t.Run(c.Name, func(t *testing.T) {
			w := tap(t, "127.0.21.2"+port, "127.0.21.1"+port)
			s := clients.Server{IMAP: "127.0.21.2:143", POP3: "127.0.21.2:110", User: user, Password: password}
			if got, err := c.Subjects(t, s); err == nil {
				t.Errorf("it read %q", got)
			}
			said, connections := w.heard()
			if connections == 0 {
				t.Error("it did not connect")
			}
			for _, secret := range []string{
				password, base64.StdEncoding.EncodeToString([]byte(password)),
				base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password)),
			} {
				if strings.Contains(said, secret) {
					t.Errorf("the password went over the wire: %q", said)
				}
			}
		})
	}
}

// Python's poplib logs in at a mailhost that knows no UTF8 and hangs up on it, whether UTF8 is offered or
// not.
func TestPoplibUTF8(t *testing.T) {
	harness.Userdb(t, harness.Account{Name: "joe", Password: "pw", Options: "mailhost=127.0.21.9"})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	in := harness.Scripted(t, 0, "S: +OK old server\nC: USER joe\nS: +OK\nC: PASS pw\nS: +OK in\nC: STAT\nS: +OK 0 0\nC: QUIT\nS: +OK")
	hangsUp := harness.Scripted(t, 0, "S: +OK old server\nC: UTF8")
	var mu sync.Mutex
	asked := 0
	harness.NewFakeMailhost(t, "127.0.21.9:110", func(conn net.Conn) error {
		mu.Lock()
		asked++
		first := asked == 2 // the first connection of the front end that offers UTF8
		mu.Unlock()
		if first {
			return hangsUp(conn)
		}
		return in(conn)
	})
	harness.POP3UnderCourier(t, "127.0.21.3", harness.Bin(t, "pop3d-proxy"), harness.Env{"POP3_PROXY": "1"})
	harness.POP3UnderCourier(t, "127.0.21.4", harness.Bin(t, "pop3d-proxy"), harness.Env{"POP3_PROXY": "1", "POP3_UTF8": "YES"})
	for _, c := range []struct{ addr, want string }{
		{"127.0.21.3", "(0, 0)"}, {"127.0.21.4", "+OK UTF8 enabled\n(0, 0)"},
	} {
		got, err := clients.UTF8(t, clients.Server{POP3: c.addr + ":110", User: "joe", Password: "pw"})
		if err != nil || strings.TrimSpace(got) != c.want {
			t.Errorf("%s: %q, %v; want %q", c.addr, got, err, c.want)
		}
	}
}

// A real Dovecot that takes no password on this connection is sent none, and the log says why.
func TestDovecotWantsTLS(t *testing.T) {
	accounts := []harness.Account{{Name: "joe", Password: "pw-of-joe"}}
	harness.Dovecot(t, harness.DovecotOptions{Addr: "127.0.21.8", Accounts: accounts, RequireTLS: true})
	harness.Userdb(t, harness.Account{Name: "joe", Password: "pw-of-joe", Options: "mailhost=127.0.21.7"})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	env := harness.Env{"IMAP_PROXY": "1", "POP3_PROXY": "1"}
	imap := harness.IMAPUnderCourier(t, "127.0.21.5", harness.Bin(t, "imapd-proxy"), env)
	pop3 := harness.POP3UnderCourier(t, "127.0.21.5", harness.Bin(t, "pop3d-proxy"), env)
	heard := []*wiretap{tap(t, "127.0.21.7:143", "127.0.21.8:143"), tap(t, "127.0.21.7:110", "127.0.21.8:110")}
	harness.Dialogue(t, "127.0.21.5:143", "S* \\* OK .*\nC: a LOGIN joe pw-of-joe\nS~ a NO \\[UNAVAILABLE\\].*\nC: b LOGOUT\nS* b OK .*\nS-")
	harness.Dialogue(t, "127.0.21.5:110", "S* \\+OK .*\nC: USER joe\nS* \\+OK .*\nC: PASS pw-of-joe\nS~ -ERR \\[SYS/TEMP\\].*\nC: QUIT\nS* \\+OK.*\nS-")
	imap.Log.Wait(t, `WARN: Login to 127\.0\.21\.7 failed, .*step=login, user=joe: mailhost takes .*PROXY_TLS`)
	pop3.Log.Wait(t, `WARN: Login to 127\.0\.21\.7 failed, .*step=user, user=joe: mailhost takes .*PROXY_TLS`)
	for _, w := range heard {
		if said, connections := w.heard(); connections == 0 || strings.Contains(said, "pw-of-joe") ||
			strings.Contains(said, base64.StdEncoding.EncodeToString([]byte("\x00joe\x00pw-of-joe"))) {
			t.Errorf("said to the mailhost: %q", said)
		}
	}
}
