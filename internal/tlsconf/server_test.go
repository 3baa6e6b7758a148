package tlsconf

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailproxy/internal/config"
	"mailproxy/tests/testcert"
)

// pipe is both ends of a TCP connection: TLS writes while the other side is not reading.
func pipe(t testing.TB) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

type result struct {
	server *Conn
	client *tls.Conn
	raw    net.Conn // the client's
	err    error    // the server's
	cerr   error    // the client's
	warned string
}

// shake makes one handshake with fresh server settings, as each process does.
func shake(t testing.TB, o Options, ccfg *tls.Config) (r result) {
	t.Helper()
	o.Warn = func(f string, a ...any) { r.warned += fmt.Sprintf(f, a...) + "\n" }
	s, err := NewServer(o)
	if err != nil {
		r.err = err
		return r
	}
	r.talk(t, ccfg, s.Handshake)
	return r
}

// talk makes the two handshakes and sends one byte to the client.
func (r *result) talk(t testing.TB, ccfg *tls.Config, handshake func(context.Context, net.Conn) (*Conn,
	error)) {
	t.Helper()
	sc, cc := pipe(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if r.server, r.err = handshake(ctx, sc); r.err != nil {
			sc.Close()
			return
		}
		r.server.Write([]byte("!"))
	}()
	r.raw, r.client = cc, tls.Client(cc, ccfg)
	if r.cerr = r.client.Handshake(); r.cerr == nil {
		_, r.cerr = r.client.Read(make([]byte, 1))
	}
	<-done
}

type fixture struct {
	dir  string
	ca   *testcert.Pair
	opts Options
}

func newFixture(t testing.TB) *fixture {
	dir := t.TempDir()
	ca := testcert.CA(t, "Test CA")
	file := testcert.Write(t, filepath.Join(dir, "cert.pem"),
		ca.Issue(t, testcert.Spec{Name: "default.example", RSA: true}).PEM(t))
	return &fixture{dir, ca, Options{TLS: config.TLS{CertFile: file}}}
}

func TestCertificateByNameAndAddress(t *testing.T) {
	f := newFixture(t)
	for _, n := range []string{"www.example.com", "127.0.0.3", "2001:db8::1"} {
		testcert.Write(t, filepath.Join(f.dir, "cert.pem."+n), f.ca.Issue(t, testcert.Spec{Name: n}).PEM(t))
	}
	testcert.Write(t, filepath.Join(f.dir, "cert.pem.broken.example"), []byte("nonsense"))
	for _, c := range []struct{ local, sni, want string }{
		{"", "", "default.example"},
		{"::ffff:127.0.0.2", "nope.example.com", "default.example"},
		{"::ffff:127.0.0.2", "www.example.com", "www.example.com"},
		{"::ffff:127.0.0.2", "WWW.Example.COM", "www.example.com"},
		{"::ffff:127.0.0.3", "", "127.0.0.3"},
		{"127.0.0.3", "nope.example.com", "127.0.0.3"},
		{"127.0.0.3", "www.example.com", "www.example.com"},
		{"2001:db8:0::1", "", "2001:db8::1"},
		{"", "../cert.pem", "default.example"},
		{"", "broken.example", "default.example"},
	} {
		o := f.opts
		o.LocalIP = c.local
		r := shake(t, o, &tls.Config{ServerName: c.sni, InsecureSkipVerify: true})
		if r.err != nil || r.cerr != nil {
			t.Errorf("%q %q: %v, %v", c.local, c.sni, r.err, r.cerr)
			continue
		}
		if got := r.client.ConnectionState().PeerCertificates[0].Subject.CommonName; got != c.want {
			t.Errorf("local %q, name %q: certificate of %s, want %s", c.local, c.sni, got, c.want)
		}
		if (c.sni == "broken.example") != (r.warned != "") {
			t.Errorf("%q warned %q", c.sni, r.warned)
		}
	}
}

func TestCheck(t *testing.T) {
	f := newFixture(t)
	ca := f.ca
	// Certificates of testcert share one RSA key.
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	otherRSA := &testcert.Pair{Key: key}
	rsa, ec, other := ca.Issue(t, testcert.Spec{Name: "a", RSA: true}), ca.Issue(t,
		testcert.Spec{Name: "b"}), ca.Issue(t, testcert.Spec{Name: "c"})
	for _, c := range []struct {
		name      string
		cert, key []byte
		want      string
	}{
		{"one file", rsa.PEM(t), nil, ""},
		{"two files", ec.CertPEM(), ec.KeyPEM(t), ""},
		{"no key", rsa.CertPEM(), nil, errNoKey.Error()},
		{"no cert", rsa.KeyPEM(t), nil, errNoCert.Error()},
		{"empty", nil, nil, errNoCert.Error()},
		{"wrong RSA key", rsa.CertPEM(), otherRSA.KeyPEM(t), errMismatch.Error()},
		{"wrong EC key", ec.CertPEM(), other.KeyPEM(t), errMismatch.Error()},
		{"RSA key for EC", ec.CertPEM(), rsa.KeyPEM(t), errMismatch.Error()},
		{"EC key for RSA", rsa.CertPEM(), ec.KeyPEM(t), errMismatch.Error()},
		{"chain first", append(ca.CertPEM(), ec.CertPEM()...), ec.KeyPEM(t),
			"certificate 2 of the file is the key's and has to be the first one"},
		{"cut certificate", append([]byte("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
			rsa.KeyPEM(t)...), nil, "certificate: "},
		{"cut key", append(rsa.CertPEM(), "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"...), nil,
			"tls: failed to parse private key"},
		{"pass phrase", append(rsa.CertPEM(),
			"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"...), nil,
			errEncrypted.Error()},
	} {
		o := Options{TLS: config.TLS{CertFile: testcert.Write(t, filepath.Join(t.TempDir(), "c"), c.cert)}}
		if c.key != nil {
			o.TLS.KeyFile = testcert.Write(t, filepath.Join(t.TempDir(), "k"), c.key)
		}
		// Check looks at the files, the handshake at the key.
		err := Check(o)
		if err == nil {
			var server *Server
			if server, err = NewServer(o); err == nil {
				_, err = server.store.get(&tls.ClientHelloInfo{})
			}
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	for _, file := range []string{"", "/nonexistent/x", "/dev/null", f.dir} {
		if Check(Options{TLS: config.TLS{CertFile: file}}) == nil {
			t.Errorf("%q passes", file)
		}
	}
}

func TestOpenKeyFileWarns(t *testing.T) {
	f := newFixture(t)
	os.Chmod(f.opts.TLS.CertFile, 0o644)
	r := shake(t, f.opts, &tls.Config{InsecureSkipVerify: true})
	if r.err != nil || !strings.Contains(r.warned, "cert.pem holds a private key and can be read by everybody") {
		t.Errorf("%v, warned %q", r.err, r.warned)
	}
}

func TestClientCertificates(t *testing.T) {
	f := newFixture(t)
	trust := testcert.Write(t, filepath.Join(f.dir, "ca.pem"), f.ca.CertPEM())
	directory := filepath.Join(f.dir, "certs")
	os.Mkdir(directory, 0o700)
	testcert.Write(t, filepath.Join(directory, "0123abcd.0"), f.ca.CertPEM())
	spec := testcert.Spec{Name: "Hans Müller", Email: "hans@example.com", AltMail: "alt@example.com"}
	good, other := f.ca.Issue(t, spec), testcert.CA(t, "Other").Issue(t, spec)
	spec.Age = time.Hour
	expired := f.ca.Issue(t, spec)
	for _, c := range []struct {
		level config.Verify
		trust string
		pair  *testcert.Pair
		ok    bool
	}{
		{"NONE", trust, nil, true}, {"NONE", "/nonexistent", other, true},
		{"PEER", trust, nil, true}, {"PEER", trust, good, true}, {"PEER", directory, good, true}, {"PEER", trust,
			other, false}, {"PEER", trust, expired, false},
		{"REQUIREPEER", trust, nil, false}, {"REQUIREPEER", trust, good, true}, {"REQUIREPEER", trust, expired,
			false},
		{"PEER", "", good, false}, {"PEER", "/nonexistent", nil, false}, {"", trust, other, true},
	} {
		o := f.opts
		o.TLS.Verify, o.TLS.TrustCerts = c.level, c.trust
		cfg := &tls.Config{InsecureSkipVerify: true}
		if c.pair != nil {
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &tls.Certificate{Certificate: [][]byte{c.pair.DER}, PrivateKey: c.pair.Key}, nil
			}
		}
		r := shake(t, o, cfg)
		if (r.err == nil) != c.ok {
			t.Errorf("%s %s: %v, want ok=%v", c.level, c.trust, r.err, c.ok)
		}
		if r.err != nil || c.pair == nil {
			continue
		}
		state := r.server.ConnectionState()
		told := Facts(&state)
		want := "hans@example.com"
		if c.level == config.VerifyNone || c.level == "" {
			want = ""
		}
		if got := told.External("emailaddress"); got != want {
			t.Errorf("%s: EXTERNAL name %q, want %q of %v", c.level, got, want, told)
		}
		if want != "" && (told.External("CN") != "Hans Müller" || told.External("o") != "Example") {
			t.Errorf("%v", told)
		}
	}
}

func TestVersionsAndALPN(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		protocol uint16
		alpn     string
		max      uint16
		offer    []string
		ok       bool
		said     string
	}{
		{0, "", 0, nil, true, "TLS1.3,128bits,AES_128_GCM_SHA256"},
		{0, "", tls.VersionTLS12, nil, true, "TLS1.2,128bits,ECDHE_RSA_AES_128_GCM_SHA256"},
		{0, "", tls.VersionTLS11, nil, false, ""},
		{tls.VersionTLS11, "", tls.VersionTLS11, nil, true, "TLS1.1,128bits,ECDHE_RSA_AES_128_CBC_SHA"},
		{tls.VersionTLS13, "", tls.VersionTLS12, nil, false, ""},
		{0, "", 0, []string{"http/1.1"}, true, "TLS1.3,128bits,AES_128_GCM_SHA256"},
		{0, "imap", 0, []string{"imap"}, true, "TLS1.3,128bits,AES_128_GCM_SHA256"},
		{0, "imap", 0, []string{"http/1.1"}, false, ""},
		{0, "imap", 0, nil, true, "TLS1.3,128bits,AES_128_GCM_SHA256"},
	} {
		o := f.opts
		o.TLS.Protocol, o.TLS.ALPN = c.protocol, strings.Fields(c.alpn)
		r := shake(t, o, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: c.max,
			NextProtos: c.offer})
		if (r.err == nil) != c.ok {
			t.Errorf("%+v: %v", c, r.err)
		}
		if r.err != nil {
			continue
		}
		state := r.server.ConnectionState()
		if got := Facts(&state).Variables()["TLS_CONNECTED_PROTOCOL"]; got != c.said &&
			!strings.Contains(c.said, "TLS1.3") {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestResumption(t *testing.T) {
	f := newFixture(t)
	f.opts.TLS.CacheFile = filepath.Join(f.dir, "cache")
	for _, max := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := &tls.Config{InsecureSkipVerify: true, MaxVersion: max,
			ClientSessionCache: tls.NewLRUClientSessionCache(1), ServerName: "x"}
		if r := shake(t, f.opts, cfg); r.err != nil || r.client.ConnectionState().DidResume {
			t.Fatal(r.err)
		}
		if r := shake(t, f.opts, cfg); r.err != nil || !r.client.ConnectionState().DidResume {
			t.Errorf("version %x: not resumed by the next process (%v) %s", max, r.err, r.warned)
		}
		os.Remove(f.opts.TLS.CacheFile + ticketSuffix)
		if r := shake(t, f.opts, cfg); r.err != nil || r.client.ConnectionState().DidResume {
			t.Errorf("version %x: resumed with lost keys (%v)", max, r.err)
		}
	}
	f.opts.TLS.CacheFile = "/nonexistent/cache"
	if r := shake(t, f.opts, &tls.Config{InsecureSkipVerify: true}); r.err != nil ||
		!strings.Contains(r.warned, "no TLS session resumption") {
		t.Errorf("%v, warned %q", r.err, r.warned)
	}
}

func TestTruncation(t *testing.T) {
	f := newFixture(t)
	read := func(end func(r result)) error {
		r := shake(t, f.opts, &tls.Config{InsecureSkipVerify: true})
		if r.err != nil {
			t.Fatal(r.err)
		}
		r.client.Write([]byte("hello"))
		end(r)
		got, err := io.ReadAll(r.server)
		if string(got) != "hello" {
			t.Errorf("got %q", got)
		}
		return err
	}
	if err := read(func(r result) { r.client.CloseWrite() }); err != nil {
		t.Errorf("close_notify: %v", err)
	}
	if err := read(func(r result) { r.client.CloseWrite(); r.raw.Close() }); err != nil {
		t.Errorf("close_notify and close: %v", err)
	}
	if err := read(func(r result) { r.raw.(*net.TCPConn).CloseWrite() }); !errors.Is(err, errTruncated) {
		t.Errorf("cut between records: %v", err)
	}
	if err := read(func(r result) {
		r.raw.Write([]byte{23, 3,
			3})
		r.raw.(*net.TCPConn).CloseWrite()
	}); !errors.Is(err, errTruncated) {
		t.Errorf("cut within a record: %v", err)
	}
}

func TestHandshakeIsBounded(t *testing.T) {
	f := newFixture(t)
	try := func(send []byte, limit time.Duration) error {
		s, err := NewServer(f.opts)
		if err != nil {
			t.Fatal(err)
		}
		sc, cc := pipe(t)
		go cc.Write(send)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		_, err = s.Handshake(ctx, sc)
		return err
	}
	if err := try(nil, 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("silent client: %v", err)
	}
	err := try([]byte("a001 LOGIN x y\r\n"), time.Minute)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("clear text: %v", err)
	}
	// One handshake message of 16 MiB, announced honestly.
	if err := try(append([]byte{22, 3, 1, 0x3f, 0xff, 1, 0xff, 0xff, 0xff},
		make([]byte, 1<<20)...), time.Minute); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("giant ClientHello: %v", err)
	}
}
