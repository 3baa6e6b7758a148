package session

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
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
	harness.EachFrontEnd(t, func(t *testing.T, m *harness.Mode) {
		m.Start(t, harness.ProxyOptions{Addr: "127.0.21.1", Env: env})
		for _, c := range clients.All() {
			if c.Name == "imaplib" {
				continue // it sends LOGIN whatever the list says
			}
			t.Run(c.Name, func(t *testing.T) { keepsPassword(t, c, user, password) })
		}
	})
}

// keepsPassword expects that a client does not log in, and that its password does not go over the wire.
func keepsPassword(t *testing.T, c clients.Client, user, password string) {
	protocol := harness.ProtocolOf(c.Protocol)
	w := tap(t, protocol.At("127.0.21.2"), protocol.At("127.0.21.1"))
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
}

// Python's poplib logs in at a mailhost that knows no UTF8 and hangs up on it, whether UTF8 is offered or
// not.
func TestPoplibUTF8(t *testing.T) {
	harness.Userdb(t, harness.Account{Name: "joe", Password: "pw", Options: "mailhost=127.0.21.9"})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	in := harness.Scripted(t, 0, `
		S: +OK old server
		C: USER joe
		S: +OK
		C: PASS pw
		S: +OK in
		C: STAT
		S: +OK 0 0
		C: QUIT
		S: +OK`)
	hangsUp := harness.Scripted(t, 0, "S: +OK old server\nC: UTF8")
	var asked atomic.Int32
	harness.NewFakeMailhost(t, "127.0.21.9:110", func(conn net.Conn) error {
		if asked.Add(1) == 2 { // the first connection of the front end that offers UTF8
			return hangsUp(conn)
		}
		return in(conn)
	})
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		asked.Store(0)
		for i, c := range []struct{ offer, want string }{{"", "(0, 0)"}, {"YES", "+OK UTF8 enabled\n(0, 0)"}} {
			p := m.Start(t, harness.ProxyOptions{Addr: fmt.Sprintf("127.0.21.%d", i+3), Protocols: []string{"POP3"},
				Env: harness.Env{"POP3_UTF8": c.offer}})
			got, err := clients.UTF8(t, clients.Server{POP3: p.At("POP3"), User: "joe", Password: "pw"})
			if err != nil || strings.TrimSpace(got) != c.want {
				t.Errorf("POP3_UTF8=%s: %q, %v; want %q", c.offer, got, err, c.want)
			}
		}
	})
}

// A real Dovecot that takes no password on this connection is sent none, and the log says why.
func TestDovecotWantsTLS(t *testing.T) {
	accounts := []harness.Account{{Name: "joe", Password: "pw-of-joe"}}
	harness.Dovecot(t, harness.DovecotOptions{Addr: "127.0.21.8", Accounts: accounts, RequireTLS: true})
	harness.Userdb(t, harness.Account{Name: "joe", Password: "pw-of-joe", Options: "mailhost=127.0.21.7"})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.EachFrontEnd(t, testDovecotWantsTLS)
}

func testDovecotWantsTLS(t *testing.T, m *harness.Mode) {
	p := m.Start(t, harness.ProxyOptions{Addr: "127.0.21.5"})
	heard := []*wiretap{tap(t, "127.0.21.7:143", "127.0.21.8:143"), tap(t, "127.0.21.7:110", "127.0.21.8:110")}
	harness.Dialogue(t, p.At("IMAP"), `
		S* \* OK .*
		C: a LOGIN joe pw-of-joe
		S~ a NO \[UNAVAILABLE\].*
		C: b LOGOUT
		S* b OK .*
		S-`)
	harness.Dialogue(t, p.At("POP3"), `
		S* \+OK .*
		C: USER joe
		S* \+OK .*
		C: PASS pw-of-joe
		S~ -ERR \[SYS/TEMP\].*
		C: QUIT
		S* \+OK.*
		S-`)
	const failed = `WARN: Login to 127\.0\.21\.7 failed, `
	p.Log("IMAP").Wait(t, failed+`.*step=login, user=joe: mailhost takes .*PROXY_TLS`)
	p.Log("POP3").Wait(t, failed+`.*step=user, user=joe: mailhost takes .*PROXY_TLS`)
	for _, w := range heard {
		if said, connections := w.heard(); connections == 0 || strings.Contains(said, "pw-of-joe") ||
			strings.Contains(said, base64.StdEncoding.EncodeToString([]byte("\x00joe\x00pw-of-joe"))) {
			t.Errorf("said to the mailhost: %q", said)
		}
	}
}
