// Package relay tests relayd at work: real clients' dialogues through imapd-proxy and pop3d-proxy to a real
// Dovecot, while relayd is restarted, killed and limited. The bytes themselves are the business of the tests
// beside the code, which try relayd and the relay inside the front ends with one suite; tests/session runs
// whole sessions with both.
package relay

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const (
	proxy   = "127.0.1.1" // in clear
	proxy2  = "127.0.1.2" // TLS on both sides
	dovecot = harness.DovecotHost
)

// message is large enough for the bulk path of the relay.
var message = harness.Message("large") + strings.Repeat(
	"0123456789012345678901234567890123456789012345678901234567890123456789\n", 30_000)

// fetched is how the message comes over the wire.
var fetched = strings.ReplaceAll(message, "\n", "\r\n")

// world starts Dovecot with an account, and a proxy with a relayd: in clear at the address proxy, with TLS on
// both sides at proxy2.
func world(t *testing.T, args ...string) *harness.Service {
	t.Helper()
	pki := harness.NewPKI(t)
	spec := testcert.Spec{Name: "localhost", Names: []string{"localhost", proxy2, dovecot}}
	cert := pki.File(t, "cert.pem", spec)
	account := func(name string) harness.Account { return harness.Account{Name: name, Password: "secret"} }
	ann := harness.Mailbox{Account: account("ann"), Host: harness.DovecotHost, Messages: []string{message}}
	here := harness.Mailbox{Account: account("here"), Messages: []string{message}}
	harness.Site{Mailboxes: []harness.Mailbox{ann, here}, Dovecot: harness.DovecotOptions{
		CertFile: cert, KeyFile: cert, Extra: "mail_max_userip_connections = 100"}}.Start(t)
	m := harness.WithRelayd(harness.Relayd(t, args...))
	m.Start(t, harness.ProxyOptions{Addr: proxy})
	m.Start(t, harness.ProxyOptions{Addr: proxy2, Protocols: []string{"IMAP"}, TLS: true, Env: harness.Env{
		"TLS_CERTFILE": cert, "TLS_CACHEFILE": "", "PROXY_TLS": "STARTTLS", "PROXY_TLS_TRUSTCERTS": pki.Trust}})
	return m.Relayd
}

// client is an IMAP session.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

// connect greets; encrypted goes the way that is encrypted on both sides.
func connect(t *testing.T, encrypted bool) *client {
	t.Helper()
	var c net.Conn
	if encrypted {
		c = tls.Client(harness.Connect(t, proxy2+":993"), &tls.Config{InsecureSkipVerify: true})
	} else {
		c = harness.Connect(t, proxy+":143")
	}
	_ = c.SetDeadline(time.Now().Add(4 * harness.Patience))
	x := &client{t, c, bufio.NewReader(c)}
	if line, err := x.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "* OK") {
		t.Fatalf("greeting %q, %v", line, err)
	}
	return x
}

// say sends a command and returns the lines up to the tagged answer.
func (c *client) say(command string) (text string, err error) {
	_ = c.SetDeadline(time.Now().Add(4 * harness.Patience))
	if _, err := io.WriteString(c, "a "+command+"\r\n"); err != nil {
		return "", err
	}
	var all bytes.Buffer
	for {
		line, err := c.r.ReadString('\n')
		all.WriteString(line)
		if err != nil || strings.HasPrefix(line, "a ") {
			return all.String(), err
		}
	}
}

func (c *client) ok(command string) string {
	c.t.Helper()
	text, err := c.say(command)
	if last := strings.LastIndex("\n"+strings.TrimSuffix(text, "\n"), "\n"); err != nil ||
		!strings.HasPrefix(text[last:], "a OK") {
		c.t.Fatalf("%s: %.200q, %v", command, text, err)
	}
	if command == "LOGOUT" {
		c.Close()
	}
	return text
}

func login(t *testing.T, encrypted bool) *client { return loginAs(t, "ann", encrypted) }

func loginAs(t *testing.T, user string, encrypted bool) *client {
	t.Helper()
	c := connect(t, encrypted)
	c.ok("LOGIN " + user + " secret")
	c.ok("SELECT INBOX")
	return c
}

// TestFrontEndsEnd: with relayd no process of a front end is left, whichever way the session is encrypted.
func TestFrontEndsEnd(t *testing.T) {
	relayd := world(t)
	c, d := login(t, false), login(t, true)
	harness.NoneLeft(t, "imapd-proxy")
	if got := d.ok("FETCH 1 BODY[]"); !strings.Contains(got, fetched) {
		t.Error("the message is not the same")
	}
	c.ok("LOGOUT")
	d.ok("LOGOUT")
	relayd.Log.WaitN(t, 2, `^INFO: LOGOUT, user=ann, ip=\[::ffff:127\.0\.0\.1\], port=\[\d+\], `+
		`mailhost=127\.0\.0\.3, rcvd=\d+, sent=\d+, time=\d+, protocol=IMAP$`)
}

// TestLocalServer: the TLS of an account that is here is relayd's business as well.
func TestLocalServer(t *testing.T) {
	relayd := world(t)
	c := loginAs(t, "here", true)
	harness.NoneLeft(t, "imapd-proxy")
	if got := c.ok("FETCH 1 BODY[]"); !strings.Contains(got, fetched) {
		t.Error("the message is not the same")
	}
	relayd.Signal(t, unix.SIGHUP)
	relayd.Log.WaitN(t, 1, `INFO: relayd: 1 sessions passed on`)
	c.ok("NOOP")
	c.ok("LOGOUT")
	harness.NoneLeft(t, "imapd")
}

// TestRestart: clients read large messages without a pause while relayd is restarted three times; none of
// them notices.
func TestRestart(t *testing.T) {
	relayd := world(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer end()
	var read [6]atomic.Int64 // messages, by client
	// all waits until each client has read n more messages.
	all := func(n int64) {
		t.Helper()
		for i := range read {
			want := read[i].Load() + n
			for last := int64(0); read[i].Load() < want && !t.Failed(); {
				// A message is long, and the machine may be busy.
				last = read[i].Load()
				if !harness.Eventually(func() bool { return read[i].Load() > last || t.Failed() }) {
					t.Fatalf("client %d reads no more messages", i)
				}
			}
		}
	}
	for i := range read {
		c := login(t, i%2 == 1)
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				got, err := c.say("FETCH 1 BODY[]")
				if err != nil || !strings.Contains(got, fetched) {
					t.Errorf("client %d, message %d: %d bytes, %v", i, n, len(got), err)
					return
				}
				read[i].Add(1)
			}
		})
	}
	idle := login(t, true)
	pid := relayd.Cmd.Process.Pid
	for i := range 3 {
		all(2)
		if err := unix.Kill(pid, unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		lines := relayd.Log.WaitN(t, i+1, `sessions taken over by process \d+`)
		fmt.Sscan(regexp.MustCompile(`process (\d+)`).FindStringSubmatch(lines[i])[1], &pid)
		relayd.Log.WaitN(t, i+1, `INFO: relayd: 7 sessions passed on`)
		login(t, i%2 == 0).ok("LOGOUT") // new sessions go to the new process
	}
	all(2)
	end()
	idle.ok("NOOP")
}

// TestKilled: kill -9 ends the sessions of relayd; the next ones are relayed by the front ends.
func TestKilled(t *testing.T) {
	relayd := world(t)
	sessions := []*client{login(t, false), login(t, true)}
	if err := unix.Kill(relayd.Cmd.Process.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, c := range sessions {
		if _, err := c.r.ReadByte(); err == nil {
			t.Error("a byte from a dead relayd")
		}
	}
	for _, encrypted := range []bool{false, true} {
		c := login(t, encrypted)
		c.ok("NOOP")
		if got := c.ok("FETCH 1 BODY[]"); !strings.Contains(got, fetched) {
			t.Error("the message is not the same")
		}
		if !harness.Eventually(func() bool { return len(harness.Procs(t, "imapd-proxy")) == 1 }) {
			t.Errorf("%d front ends", len(harness.Procs(t, "imapd-proxy")))
		}
		c.ok("LOGOUT")
		harness.NoneLeft(t, "imapd-proxy")
	}
}

// TestLimit: the session too many is refused before the client is told that it is logged in, and there is
// room again when another ends.
func TestLimit(t *testing.T) {
	world(t, "-maxperuser", "1")
	c := login(t, false)
	d := connect(t, true)
	if got, err := d.say("LOGIN ann secret"); err != nil || !strings.HasPrefix(got, "a NO [UNAVAILABLE]") {
		t.Errorf("the second session: %q, %v", got, err)
	}
	p := harness.Connect(t, proxy+":110")
	_ = p.SetDeadline(time.Now().Add(2 * harness.Patience))
	_, _ = io.WriteString(p, "USER ann\r\nPASS secret\r\nQUIT\r\n")
	if got, err := io.ReadAll(p); err != nil || !strings.Contains(string(got), "-ERR [SYS/TEMP]") {
		t.Errorf("POP3: %q, %v", got, err)
	}
	c.ok("LOGOUT")
	if !harness.Eventually(func() bool {
		got, err := d.say("LOGIN ann secret")
		return err == nil && strings.Contains(got, "a OK")
	}) {
		t.Error("no room after the end of the other session")
	}
	d.ok("NOOP")
}
