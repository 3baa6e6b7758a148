package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/tlsconf/testcert"
	"mailproxy/internal/tlsfiles"
	"mailproxy/relay"
	"mailproxy/relay/relaytest"
)

// front is a front end's part of an encrypted connection: the near end of the pair.
type front struct {
	*net.UnixConn
	e *relay.Encrypted
}

func (f *front) Encrypted() *relay.Encrypted { return f.e }

// Close is what the end of a front end's process does.
func (f *front) Close() error { return errors.Join(f.UnixConn.Close(), f.e.Close()) }

// fixture is what handshakes are made of.
type fixture struct {
	dir      string
	ca       *testcert.Pair
	settings map[string]string
}

func newFixture(t testing.TB) *fixture {
	f := &fixture{dir: t.TempDir(), ca: testcert.CA(t, "Test CA"), settings: map[string]string{}}
	f.certificate(t, "mail.example.com")
	return f
}

// certificate makes a new certificate the default one.
func (f *fixture) certificate(t testing.TB, name string) {
	f.settings["TLS_CERTFILE"] = testcert.Write(t, filepath.Join(f.dir, "cert.pem"), f.ca.Issue(t, testcert.Spec{Name: name}).PEM(t))
}

func (f *fixture) trust(t testing.TB) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(f.ca.CertPEM())
	return pool
}

// request is what a front end asks for.
func (f *fixture) request(conn *net.TCPConn, far *os.File, warn *bytes.Buffer) relay.EncryptRequest {
	o := &tlsfiles.Options{Settings: f.settings}
	r := relay.EncryptRequest{Conn: conn, Far: int(far.Fd()), Settings: f.settings, Open: o.Open, Handshake: 10 * time.Second, Login: 20 * time.Second,
		Protocol: "IMAP", RemoteIP: "::ffff:192.0.2.7", RemotePort: "4711"}
	if warn != nil {
		o.Warn = func(format string, a ...any) { fmt.Fprintf(warn, format+"\n", a...) }
		r.Warn = o.Warn
	}
	return r
}

// socketPair is a pair as a front end makes it.
func socketPair(t testing.TB) (near *net.UnixConn, far *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "near")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	far = os.NewFile(uintptr(fds[1]), "far")
	t.Cleanup(func() { c.Close(); far.Close() })
	return c.(*net.UnixConn), far
}

// encrypt has relayd make a handshake with a client of cfg. The client has finished its part when no error is returned.
func (f *fixture) encrypt(t testing.TB, socket string, cfg *tls.Config, change func(*relay.EncryptRequest)) (*front, *tls.Conn, error) {
	t.Helper()
	server, far := relaytest.TCP(t, 0)
	near, farEnd := socketPair(t)
	c := tls.Client(far, cfg)
	done := make(chan error, 1)
	go func() { done <- c.Handshake() }()
	r := f.request(server, farEnd, nil)
	if change != nil {
		change(&r)
	}
	e, err := relay.Encrypt(context.Background(), socket, r)
	farEnd.Close()
	server.Close()
	if err != nil {
		far.Close()
		<-done
		return nil, nil, err
	}
	x := &front{near, e}
	t.Cleanup(func() { x.Close() })
	if err := <-done; err != nil {
		return x, c, err
	}
	return x, c, nil
}

func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// TestEncrypt: a handshake, a dialogue in clear text over the pair, and the end of both sides.
func TestEncrypt(t *testing.T) {
	s, f := startService(t), newFixture(t)
	x, c, err := f.encrypt(t, s.socket, &tls.Config{ServerName: "mail.example.com", RootCAs: f.trust(t)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := x.e.Variables[tlsfiles.ConnectedVariable]; !strings.HasPrefix(got, "TLSv1.3,") && !strings.HasPrefix(got, "TLS1.3,") {
		t.Errorf("variables: %v", x.e.Variables)
	}
	exchange(t, x, c)
	exchange(t, c, x)
	if out, _, _ := ask(s.socket, "who"); !strings.HasPrefix(out, "(logging in)\t[::ffff:192.0.2.7]:4711\tIMAP\t-\t") {
		t.Errorf("who: %q", out)
	}
	out, _, _ := ask(s.socket, "stats")
	for _, l := range []string{"mailproxy_relayd_logging_in 1\n", "mailproxy_relayd_sessions 0\n", "mailproxy_tls_handshakes_total{result=\"ok\"} 1\n",
		"mailproxy_tls_handshake_seconds_count 1\n"} {
		if !strings.Contains(out, l) {
			t.Errorf("no %q in %s", l, out)
		}
	}
	_, _ = io.WriteString(x, "* BYE\r\n")
	x.Close()
	if got, err := io.ReadAll(c); string(got) != "* BYE\r\n" || err != nil {
		t.Errorf("the client got %q, %v", got, err)
	}
	c.Close()
	waitFor(t, func() bool { return s.encryptions.now() == 0 && s.limits.now() == 0 })
	if strings.Contains(s.log.String(), "LOGOUT") {
		t.Errorf("log: %s", s.log)
	}
}

// TestClientGoesBeforeLogin: what it sent arrives, then the end.
func TestClientGoesBeforeLogin(t *testing.T) {
	s, f := startService(t), newFixture(t)
	x, c, err := f.encrypt(t, s.socket, insecure(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "a LOGOUT\r\n")
	c.Close()
	if got, err := io.ReadAll(x); string(got) != "a LOGOUT\r\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	x.Close()
	waitFor(t, func() bool { return s.encryptions.now() == 0 })
}

// hand hands an encrypted client over with a plain mailhost; first is what the client is told.
func (x *front) hand(socket string, mailhost relay.Conn, first string) error {
	return relay.HandOver(context.Background(), socket, x, mailhost, info("ann"), relay.Options{First: first})
}

// TestStart: what is on its way in the pair, both ways, is neither lost net out of order when the pair is taken out.
func TestStart(t *testing.T) {
	s, f := startService(t), newFixture(t)
	files := countFiles(t)
	x, c, err := f.encrypt(t, s.socket, insecure(), nil)
	if err != nil {
		t.Fatal(err)
	}
	nm, fm := relaytest.TCP(t, 0)
	_, _ = io.WriteString(c, "a LOGIN\r\nb SELECT\r\n") // pipelined
	line := make([]byte, len("a LOGIN\r\n"))
	if _, err := io.ReadFull(x, line); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(x, "* early\r\n") // still in the pair
	if err = x.hand(s.socket, nm, "a OK\r\n"); err != nil {
		t.Fatal(err)
	}
	x.Close()
	nm.Close()
	_, _ = io.WriteString(c, "c NOOP\r\n")
	r := bufio.NewReader(fm)
	for _, want := range []string{"b SELECT\r\n", "c NOOP\r\n"} {
		if got, err := r.ReadString('\n'); got != want || err != nil {
			t.Fatalf("the mailhost got %q, %v, want %q", got, err, want)
		}
	}
	_, _ = io.WriteString(fm, "b OK\r\n")
	rc := bufio.NewReader(c)
	for _, want := range []string{"* early\r\n", "a OK\r\n", "b OK\r\n"} {
		if got, err := rc.ReadString('\n'); got != want || err != nil {
			t.Fatalf("the client got %q, %v, want %q", got, err, want)
		}
	}
	_ = c.CloseWrite()
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("the mailhost is told %v", err)
	}
	fm.Close()
	if _, err := rc.ReadByte(); err != io.EOF {
		t.Errorf("the client is told %v", err)
	}
	c.Close()
	waitFor(t, func() bool { return s.limits.now() == 0 && s.encryptions.now() == 0 })
	want := "INFO: LOGOUT, user=ann, ip=[::ffff:192.0.2.7], port=[4711], mailhost=mail1, rcvd=18, sent=6, time=0, protocol=IMAP\n"
	waitFor(t, func() bool { return s.log.String() == want })
	waitFor(t, func() bool { return countFiles(t) <= files+2 }) // the test's own
}

// kinds are connections that have been encrypted, for the tests that every relay must pass.
func (f *fixture) kind(s *testService, name string, cfg func() *tls.Config, change func(*relay.EncryptRequest)) relaytest.Kind {
	return relaytest.Kind{Name: name, Make: func(t testing.TB) (relay.Conn, relay.Conn) {
		x, c, err := f.encrypt(t, s.socket, cfg(), change)
		if err != nil {
			t.Fatal(err)
		}
		return x, c
	}}
}

// mailhostKind is an encrypted connection to a mailhost.
func (f *fixture) mailhostKind(s *testService) relaytest.Kind {
	return relaytest.Kind{Name: "mailhost", Make: func(t testing.TB) (relay.Conn, relay.Conn) {
		t.Helper()
		x, c, err := f.mailhost(t, s.socket, "mail.example.com", nil)
		if err != nil {
			t.Fatal(err)
		}
		return x, c
	}}
}

// mailhost has relayd make a handshake with a mailhost.
func (f *fixture) mailhost(t testing.TB, socket, name string, change func(map[string]string)) (*front, *tls.Conn, error) {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(f.settings["TLS_CERTFILE"], f.settings["TLS_CERTFILE"])
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{"PROXY_TLS_TRUSTCERTS": testcert.Write(t, filepath.Join(f.dir, "ca.pem"), f.ca.CertPEM())}
	if change != nil {
		change(settings)
	}
	near, far := relaytest.TCP(t, 0)
	nearEnd, farEnd := socketPair(t)
	c := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{cert}})
	done := make(chan error, 1)
	go func() { done <- c.Handshake() }()
	o := &tlsfiles.Options{Settings: settings}
	e, err := relay.Encrypt(context.Background(), socket, relay.EncryptRequest{Conn: near, Far: int(farEnd.Fd()), Host: name, Settings: settings,
		Open: o.OpenMailhost, Handshake: 10 * time.Second, Login: 20 * time.Second})
	farEnd.Close()
	near.Close()
	if err != nil {
		far.Close()
		<-done
		return nil, nil, err
	}
	x := &front{nearEnd, e}
	t.Cleanup(func() { x.Close() })
	return x, c, <-done
}

// TestEncryptedSuite: the tests that everything passes which joins two connections.
func TestEncryptedSuite(t *testing.T) {
	s, f := startService(t), newFixture(t)
	tcp := relaytest.Kinds()[:1]
	tls13 := f.kind(s, "tls13", insecure, nil)
	tls12 := f.kind(s, "tls12", func() *tls.Config { return &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12} }, nil)
	relaytest.Run(t, []relaytest.Kind{tls13, tls12}, tcp, s.join)
	relaytest.Run(t, []relaytest.Kind{tls13}, []relaytest.Kind{f.mailhostKind(s)}, s.join)
	relaytest.Run(t, tcp, []relaytest.Kind{f.mailhostKind(s)}, s.join)
}

// cbc are clients that only speak what package record can not carry on.
func cbc() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}
}

// TestEncryptedKept: cipher suites that stay with crypto/tls.
func TestEncryptedKept(t *testing.T) {
	s, f := startService(t), newFixture(t)
	kind := f.kind(s, "cbc", cbc, nil)
	relaytest.Run(t, []relaytest.Kind{kind}, relaytest.Kinds()[:1], s.join)
	waitFor(t, func() bool { return s.counters.kept.Load() == 0 && s.encryptions.now() == 0 })
	x, c, err := f.encrypt(t, s.socket, cbc(), nil)
	if err != nil {
		t.Fatal(err)
	}
	x.Close() // without a login
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client is told %v", err)
	}
	waitFor(t, func() bool { return s.counters.kept.Load() == 0 })
}

// TestContinue: a local server goes on over the pair, without the front end.
func TestContinue(t *testing.T) {
	s, f := startService(t, "-maxperuser", "1"), newFixture(t)
	for _, cfg := range []*tls.Config{insecure(), cbc()} {
		x, c, err := f.encrypt(t, s.socket, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		y, _, err := f.encrypt(t, s.socket, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		i := info("ann")
		i.Protocol = ""
		if err := x.e.Continue(context.Background(), i, relay.Options{}); err != nil {
			t.Fatal(err)
		}
		if err := y.e.Continue(context.Background(), i, relay.Options{}); !errors.Is(err, relay.ErrLimit) {
			t.Errorf("beyond the limit: %v", err)
		}
		y.Close()
		waitFor(t, func() bool { return s.encryptions.now() == 0 })
		if s.limits.now() != 1 {
			t.Errorf("%d sessions", s.limits.now())
		}
		exchange(t, x, c)
		exchange(t, c, x)
		x.UnixConn.Close()
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
		c.Close()
		waitFor(t, func() bool { return s.limits.now() == 0 })
	}
	if strings.Contains(s.log.String(), "LOGOUT") {
		t.Errorf("log: %s", s.log)
	}
}

// listenOnce copies between one caller of a unix socket and a connection; the channel is closed when the caller is there.
func listenOnce(t *testing.T, path string, c *net.TCPConn) <-chan struct{} {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	there := make(chan struct{})
	go func() {
		defer l.Close()
		u, err := l.Accept()
		if err != nil {
			return
		}
		close(there)
		go func() { _, _ = io.Copy(u, c); u.Close() }()
		_, _ = io.Copy(c, u)
		_ = c.CloseWrite()
	}()
	return there
}
