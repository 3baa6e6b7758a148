package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/tlsconf/testcert"
	"mailproxy/relay"
	"mailproxy/relay/relaytest"
)

// with returns the fixture with one more setting.
func (f *fixture) with(set ...string) *fixture {
	g := *f
	g.settings = maps.Clone(f.settings)
	for i := 0; i < len(set); i += 2 {
		g.settings[set[i]] = set[i+1]
	}
	return &g
}

// warned has the warnings of a request written to b.
func (f *fixture) warned(b *bytes.Buffer) func(*relay.EncryptRequest) {
	return func(r *relay.EncryptRequest) {
		r.Warn = func(format string, a ...any) { fmt.Fprintf(b, format+"\n", a...) }
	}
}

func subject(c *tls.Conn) string { return c.ConnectionState().PeerCertificates[0].Subject.CommonName }

// TestNames: certificates by server name come from the front end, and one that is no good does not stop the handshake.
func TestNames(t *testing.T) {
	s, f := startService(t), newFixture(t)
	testcert.Write(t, filepath.Join(f.dir, "cert.pem.www.example.com"), f.ca.Issue(t, testcert.Spec{Name: "www.example.com", RSA: true}).PEM(t))
	testcert.Write(t, filepath.Join(f.dir, "cert.pem.broken.example"), []byte("nonsense"))
	for _, tc := range []struct{ name, want, warned string }{
		{"", "mail.example.com", ""}, {"www.example.com", "www.example.com", ""}, {"WWW.example.com", "www.example.com", ""},
		{"other.example.com", "mail.example.com", ""}, {"broken.example", "mail.example.com", `no TLS certificate for "broken.example": `},
	} {
		var warned bytes.Buffer
		_, c, err := f.encrypt(t, s.socket, &tls.Config{ServerName: tc.name, InsecureSkipVerify: true}, f.warned(&warned))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if got := subject(c); got != tc.want {
			t.Errorf("%q gets the certificate of %s", tc.name, got)
		}
		if tc.warned == "" && warned.Len() > 0 || !strings.HasPrefix(warned.String(), tc.warned) {
			t.Errorf("%q warned %q", tc.name, &warned)
		}
	}
}

// TestNewCertificate counts from the next connection, also when it is written in place of the old one, and then nothing of
// before is resumed.
func TestNewCertificate(t *testing.T) {
	s, f := startService(t), newFixture(t)
	sessions := tls.NewLRUClientSessionCache(10)
	cfg := func() *tls.Config {
		return &tls.Config{ServerName: "x", InsecureSkipVerify: true, ClientSessionCache: sessions}
	}
	for i, name := range []string{"one.example", "one.example", "two.example", "six.example"} {
		if i != 1 {
			f.certificate(t, name)
		}
		x, c, err := f.encrypt(t, s.socket, cfg(), nil)
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, x, c) // the client reads its ticket
		if got := subject(c); got != name {
			t.Errorf("certificate of %s, want %s", got, name)
		}
		if resumed := c.ConnectionState().DidResume; resumed != (i == 1) {
			t.Errorf("connection %d: resumed %v", i, resumed)
		}
	}
}

// TestResumption: by connections of other front ends, and not under another policy.
func TestResumption(t *testing.T) {
	s, f := startService(t), newFixture(t)
	trust := testcert.Write(t, filepath.Join(f.dir, "ca.pem"), f.ca.CertPEM())
	other := testcert.Write(t, filepath.Join(f.dir, "other.pem"), append(f.ca.CertPEM(), testcert.CA(t, "Other").CertPEM()...))
	user := f.ca.Issue(t, testcert.Spec{Name: "Hans", Email: "hans@example.com"})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		sessions := tls.NewLRUClientSessionCache(10)
		for i, step := range []struct {
			*fixture
			resumed bool
		}{
			{f, false}, {f, true}, {f.with("TLS_EXTERNAL", "cn"), true}, {f.with("TLS_VERIFYPEER", "PEER", "TLS_TRUSTCERTS", trust), false},
			{f.with("TLS_VERIFYPEER", "PEER", "TLS_TRUSTCERTS", trust), true}, {f.with("TLS_VERIFYPEER", "PEER", "TLS_TRUSTCERTS", other), false},
			{f.with("TLS_VERIFYPEER", "REQUIREPEER", "TLS_TRUSTCERTS", other), false}, {f.with("TLS_VERIFYPEER", "REQUIREPEER", "TLS_TRUSTCERTS", other), true},
			{f, false},
		} {
			cfg := &tls.Config{ServerName: "x", InsecureSkipVerify: true, MaxVersion: version, ClientSessionCache: sessions,
				Certificates: []tls.Certificate{{Certificate: [][]byte{user.DER}, PrivateKey: user.Key}}}
			x, c, err := step.encrypt(t, s.socket, cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			exchange(t, x, c)
			if got := c.ConnectionState().DidResume; got != step.resumed {
				t.Errorf("%x, step %d: resumed %v", version, i, got)
			}
			want := ""
			if step.settings["TLS_VERIFYPEER"] != "" {
				want = "hans@example.com"
			}
			if got := x.e.Variables["TLS_SUBJECT_EMAILADDRESS"]; got != want {
				t.Errorf("%x, step %d: client is %q, want %q", version, i, got, want)
			}
		}
	}
	if out, _, _ := ask(s.socket, "stats"); !strings.Contains(out, "mailproxy_tls_handshakes_total{result=\"resumed\"} 8\n") {
		t.Errorf("stats: %s", out)
	}
}

// TestClientCertificates: accepted, missing, expired, of another authority, and the facts about them.
func TestClientCertificates(t *testing.T) {
	s, f := startService(t), newFixture(t)
	trust := testcert.Write(t, filepath.Join(f.dir, "ca.pem"), f.ca.CertPEM())
	spec := testcert.Spec{Name: "Hans Müller", Email: "hans@example.com", AltMail: "alt@example.com"}
	good, other := f.ca.Issue(t, spec), testcert.CA(t, "Other").Issue(t, spec)
	spec.Age = time.Hour
	expired := f.ca.Issue(t, spec)
	for _, tc := range []struct {
		level string
		pair  *testcert.Pair
		ok    bool
	}{
		{"NONE", good, true}, {"PEER", nil, true}, {"PEER", good, true}, {"PEER", other, false}, {"PEER", expired, false},
		{"REQUIREPEER", nil, false}, {"REQUIREPEER", good, true}, {"REQUIREPEER", other, false}, {"REQUIREPEER", expired, false},
	} {
		cfg := insecure()
		if tc.pair != nil {
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &tls.Certificate{Certificate: [][]byte{tc.pair.DER}, PrivateKey: tc.pair.Key}, nil
			}
		}
		x, _, err := f.with("TLS_VERIFYPEER", tc.level, "TLS_TRUSTCERTS", trust).encrypt(t, s.socket, cfg, nil)
		var failed *relay.HandshakeError
		if tc.ok != (err == nil) || err != nil && !errors.As(err, &failed) {
			t.Errorf("%s, certificate %v: %v", tc.level, tc.pair != nil, err)
			continue
		}
		if err == nil && tc.level != "NONE" && tc.pair != nil {
			v := x.e.Variables
			if v["TLS_SUBJECT_CN"] != "Hans Müller" || v["TLS_SUBJECT_EMAILADDRESS"] != "hans@example.com" || v["TLS_SUBJECT_SUBJECTALTNAME"] != "alt@example.com" {
				t.Errorf("variables: %v", v)
			}
		} else if err == nil && len(x.e.Variables) != 1 {
			t.Errorf("%s: variables %v", tc.level, x.e.Variables)
		}
	}
}

// TestMailhostNames: who is at the other end of the way to a mailhost.
func TestMailhostNames(t *testing.T) {
	s, f := startService(t), newFixture(t)
	for _, tc := range []struct {
		name   string
		change func(map[string]string)
		ok     bool
	}{
		{"mail.example.com", nil, true}, {"mail.example.com.", nil, true}, {"other.example.com", nil, false}, {"192.0.2.1", nil, false},
		{"mail.example.com", func(s map[string]string) {
			s["PROXY_TLS_TRUSTCERTS"] = testcert.Write(t, filepath.Join(f.dir, "x.pem"), testcert.CA(t, "Other").CertPEM())
		}, false},
		{"other.example.com", func(s map[string]string) { s["PROXY_TLS_VERIFYPEER"] = "NONE"; delete(s, "PROXY_TLS_TRUSTCERTS") }, true},
		{"mail.example.com", func(s map[string]string) { delete(s, "PROXY_TLS_TRUSTCERTS") }, false}, // the system's
	} {
		_, _, err := f.mailhost(t, s.socket, tc.name, tc.change)
		var failed *relay.HandshakeError
		if tc.ok != (err == nil) || err != nil && (!errors.As(err, &failed) || !strings.Contains(err.Error(), "certificate")) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// TestUnable: what relayd can not do it says before it reads a byte, so that the front end can do it.
func TestUnable(t *testing.T) {
	f := newFixture(t)
	folder := filepath.Join(f.dir, "certs")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	empty := testcert.Write(t, filepath.Join(f.dir, "empty.pem"), nil)
	key := testcert.Write(t, filepath.Join(f.dir, "wrong.pem"), append(f.ca.Issue(t, testcert.Spec{Name: "a"}).CertPEM(), f.ca.Issue(t, testcert.Spec{Name: "b"}).KeyPEM(t)...))
	for _, tc := range []struct {
		args []string
		*fixture
	}{
		{nil, f.with("TLS_VERIFYPEER", "PEER", "TLS_TRUSTCERTS", folder)}, {nil, f.with("TLS_VERIFYPEER", "PEER", "TLS_TRUSTCERTS", empty)},
		{nil, f.with("TLS_VERIFYPEER", "PEER")}, {nil, f.with("TLS_VERIFYPEER", "SOMETIMES", "TLS_TRUSTCERTS", empty)},
		{nil, f.with("TLS_CERTFILE", empty)}, {nil, f.with("TLS_CERTFILE", "/nonexistent")}, {nil, f.with("TLS_CERTFILE", key)},
		{nil, f.with("TLS_CIPHER_LIST", "!ALL")}, {nil, f.with("TLS_CIPHER_LIST", "a\nb")},
		{[]string{"-tls", "no"}, f}, {[]string{"-maxlogins", "0"}, f},
	} {
		s := startService(t, tc.args...)
		server, far := relaytest.TCP(t, 0)
		_, farEnd := socketPair(t)
		_, _ = io.WriteString(far, "hello")
		if _, err := relay.Encrypt(context.Background(), s.socket, tc.request(server, farEnd, nil)); !errors.Is(err, relay.ErrUnavailable) {
			t.Errorf("%v %v: %v", tc.args, tc.settings, err)
		}
		expectText(t, server, "hello")
		_, _ = io.WriteString(server, "x") // it still has its connection
		expectText(t, far, "x")
		waitFor(t, func() bool { return s.encryptions.now() == 0 })
	}
}

func expectText(t *testing.T, c relay.Conn, text string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, len(text))
	if n, err := io.ReadFull(c, buf); err != nil || string(buf) != text {
		t.Fatalf("got %q, %v, want %q", buf[:n], err, text)
	}
}

// TestBadHandshakes: clients that say something else, stop in the middle or say nothing end in time, and with a word for the log. What
// stands behind STARTTLS in clear text is such a client (CVE-2011-0411).
func TestBadHandshakes(t *testing.T) {
	s, f := startService(t), newFixture(t)
	for _, tc := range []struct {
		name, said, want string
		gone             bool
	}{
		{"silent", "", "timeout", false}, {"gone", "", "connection closed", true}, {"garbage", "GET / HTTP/1.0\r\n\r\n", "first record does not look like", false},
		{"injected", "a LOGIN ann x\r\n\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "first record does not look like", false},
		{"cut", "\x16\x03\x01\x02\x00\x01\x00", "timeout", false}, {"cut and gone", "\x16\x03\x01\x02\x00\x01\x00", "connection closed", true},
		{"ssl2", "\x80\x2e\x01\x00\x02", "", false},
	} {
		server, far := relaytest.TCP(t, 0)
		_, farEnd := socketPair(t)
		_, _ = io.WriteString(far, tc.said)
		if tc.gone {
			_ = far.CloseWrite()
		}
		r := f.request(server, farEnd, nil)
		r.StartTLS, r.Handshake = true, 300*time.Millisecond
		begin := time.Now()
		_, err := relay.Encrypt(context.Background(), s.socket, r)
		var failed *relay.HandshakeError
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), tc.want) || time.Since(begin) > 3*time.Second {
			t.Errorf("%s: %v after %v", tc.name, err, time.Since(begin))
		}
		server.Close()
	}
	waitFor(t, func() bool { return s.encryptions.now() == 0 })
}

// TestGate: slow clients of one address keep each other waiting, and nobody else.
func TestGate(t *testing.T) {
	s, f := startChanged(t, func(s *service) { s.gate = newGate(3, 2) }), newFixture(t)
	slow := func(ip string) {
		server, _ := relaytest.TCP(t, 0)
		_, farEnd := socketPair(t)
		r := f.request(server, farEnd, nil)
		r.RemoteIP, r.Handshake = ip, 2*time.Second
		go func() { _, _ = relay.Encrypt(context.Background(), s.socket, r) }()
	}
	for range 5 {
		slow("2001:db8::1")
	}
	waitFor(t, func() bool { return s.encryptions.now() == 5 && len(s.gate.all) == 2 })
	for i := range 3 { // others, one at a time
		x, c, err := f.encrypt(t, s.socket, insecure(), func(r *relay.EncryptRequest) { r.Handshake = time.Second })
		if err != nil {
			t.Fatal(i, err)
		}
		exchange(t, x, c)
	}
	_, _, err := f.encrypt(t, s.socket, insecure(), func(r *relay.EncryptRequest) { r.RemoteIP, r.Handshake = "2001:db8::2", 300*time.Millisecond })
	if err == nil || err.Error() != "timeout" {
		t.Errorf("one more of the same network: %v", err)
	}
	waitFor(t, func() bool { s.gate.mu.Lock(); defer s.gate.mu.Unlock(); return len(s.gate.ips) == 0 })
}

// TestPanic: what goes wrong in one handshake ends that one.
func TestPanic(t *testing.T) {
	s, f := startChanged(t, func(s *service) { s.gate = nil }), newFixture(t)
	_, _, err := f.encrypt(t, s.socket, insecure(), nil)
	var failed *relay.HandshakeError
	if !errors.As(err, &failed) || err.Error() != errPanic.Error() {
		t.Errorf("%v", err)
	}
	waitFor(t, func() bool {
		return strings.Contains(s.log.String(), "CRIT: relayd: handshake with [::ffff:192.0.2.7]: ")
	})
	if _, code, _ := ask(s.socket, "who"); code != 0 {
		t.Error("relayd is gone")
	}
}

// TestOpenSSL: another implementation, its way of key updates and its resumption in a process of its own.
func TestOpenSSL(t *testing.T) {
	s, f := startService(t), newFixture(t)
	sess := filepath.Join(f.dir, "session")
	for i, args := range [][]string{{"-sess_out", sess}, {"-sess_in", sess}, {"-tls1_2"}, {"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"}} {
		server, far := relaytest.TCP(t, 0)
		near, farEnd := socketPair(t)
		client, err := far.File()
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.SetNonblock(int(client.Fd()), false)
		// s_client connects by itself: a unix socket that leads to our connection.
		path := filepath.Join(f.dir, fmt.Sprint("s", i))
		l := listenOnce(t, path, far)
		cmd := exec.Command("openssl", append([]string{"s_client", "-unix", path, "-servername", "mail.example.com", "-quiet", "-no_ign_eof"}, args...)...)
		in, _ := cmd.StdinPipe()
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-l
		e, err := relay.Encrypt(context.Background(), s.socket, f.request(server, farEnd, nil))
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		x := &front{near, e}
		_, _ = io.WriteString(x, "* OK\r\n")
		buf := make([]byte, 6)
		if _, err := io.ReadFull(out, buf); err != nil || string(buf) != "* OK\r\n" {
			t.Fatalf("%v: %q %v", args, buf, err)
		}
		_, _ = io.WriteString(in, "a NOOP\n")
		expectText(t, x, "a NOOP\n")
		in.Close()
		x.Close()
		_ = cmd.Wait()
		client.Close()
	}
	if out, _, _ := ask(s.socket, "stats"); !strings.Contains(out, "mailproxy_tls_handshakes_total{result=\"resumed\"} 1\n") {
		t.Errorf("stats: %s", out)
	}
}
