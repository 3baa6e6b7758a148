package tlsconf

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/config"
	"mailproxy/tests/testcert"
)

// remembering is a fixture with a memory, a clock and a log.
type remembering struct {
	*fixture
	mu  sync.Mutex
	log []string
	now time.Time
}

func newRemembering(t *testing.T) *remembering {
	r := &remembering{fixture: newFixture(t), now: time.Now()}
	r.opts.Memory = &Memory{}
	r.opts.Now = func() time.Time { return r.now }
	r.opts.Err = func(f string, a ...any) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.log = append(r.log, sprint(r.dir, f, a))
	}
	r.opts.Warn = r.opts.Err
	return r
}

// name is that of the certificate that a client gets who asks for a name.
func (r *remembering) name(t *testing.T, server string) string {
	t.Helper()
	s := &certStore{opts: r.opts}
	err := s.loadDefault()
	var cert *tls.Certificate
	if err == nil {
		cert, err = s.get(&tls.ClientHelloInfo{ServerName: server, SupportedVersions: []uint16{tls.VersionTLS13}})
	}
	if err != nil {
		return err.Error()
	}
	return cert.Leaf.Subject.CommonName
}

// Within a minute no file is looked at: not when it is gone, not when one for a name has come.
func TestLooksOnceAMinute(t *testing.T) {
	r := newRemembering(t)
	want := func(what, server, name string, lines int) {
		t.Helper()
		if got := r.name(t, server); got != name || len(r.log) != lines {
			t.Errorf("%s: certificate of %s, want %s; log %q, want %d", what, got, name, r.log, lines)
		}
		r.log = nil
	}
	want("first", "www.example.com", "default.example", 0)
	own := filepath.Join(r.dir, "cert.pem.www.example.com")
	testcert.Write(t, own, r.ca.Issue(t, testcert.Spec{Name: "www.example.com"}).PEM(t))
	if err := os.Remove(r.opts.TLS.CertFile); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(checkEvery - time.Second)
	want("59 seconds later", "www.example.com", "default.example", 0)
	r.now = r.now.Add(time.Second)
	want("a minute later", "", "default.example", 1)
	want("its name", "www.example.com", "www.example.com", 0)
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	want("gone", "www.example.com", "www.example.com", 0)
	r.now = r.now.Add(checkEvery)
	want("a minute after", "www.example.com", "default.example", 0)
	r.now = r.now.Add(-24 * time.Hour)
	testcert.Write(t, own, []byte("x"))
	want("the clock is set back", "www.example.com", "default.example", 2)
}

// What is wrong is said once, again after an hour, and again when the files have changed.
func TestSaysOnce(t *testing.T) {
	r := newRemembering(t)
	if got := r.name(t, ""); got != "default.example" {
		t.Fatal(got)
	}
	testcert.Write(t, r.opts.TLS.CertFile, []byte("x"))
	lines := func(minutes int) (n int) {
		t.Helper()
		r.log = nil
		for range minutes {
			r.now = r.now.Add(checkEvery)
			if got := r.name(t, ""); got != "default.example" {
				t.Fatal(got)
			}
		}
		return len(r.log)
	}
	if n := lines(60); n != 1 {
		t.Errorf("%d lines in the first hour", n)
	}
	if n := lines(60); n != 1 {
		t.Errorf("%d lines in the second hour", n)
	}
	testcert.Write(t, r.opts.TLS.CertFile, []byte("yy"))
	if n := lines(30); n != 1 {
		t.Errorf("%d lines after a change", n)
	}
}

// A loop of symbolic links, a directory, a file without its end: each is survived, and mended without a
// restart. One of two certificates fails alone.
func TestFaults(t *testing.T) {
	r := newRemembering(t)
	second := filepath.Join(r.dir, "second.pem")
	names := 0
	renew := func() []byte {
		names++
		return r.ca.Issue(t, testcert.Spec{Name: fmt.Sprintf("n%d.example", names)}).PEM(t)
	}
	testcert.Write(t, second, renew())
	r.opts.TLS.CertFile += " " + second
	other := r.ca.Issue(t, testcert.Spec{Name: "other.example"})
	for name, fault := range map[string]func() error{
		"vanished":  func() error { return os.Remove(second) },
		"link":      func() error { return errors.Join(os.Remove(second), os.Symlink(second, second)) },
		"directory": func() error { return errors.Join(os.Remove(second), os.Mkdir(second, 0o700)) },
		"half written": func() error {
			whole := renew()
			return os.WriteFile(second, whole[:len(whole)-30], 0o600)
		},
		"no key": func() error { return os.WriteFile(second, other.CertPEM(), 0o600) },
		"wrong key": func() error {
			return os.WriteFile(second, slices.Concat(other.CertPEM(), r.ca.KeyPEM(t)), 0o600)
		},
		"too large": func() error { return os.Truncate(second, maxCert+1) },
	} {
		good := fmt.Sprintf("n%d.example", names)
		if got := r.name(t, ""); got != good {
			t.Errorf("before %s: %s, want %s", name, got, good)
		}
		if err := fault(); err != nil {
			t.Fatal(err)
		}
		r.log = nil
		for range 3 {
			r.now = r.now.Add(checkEvery)
			if got := r.name(t, ""); got != good {
				t.Errorf("%s: %s, want %s", name, got, good)
			}
		}
		if len(r.log) != 1 || !strings.Contains(r.log[0], "DIR/second.pem") ||
			!strings.Contains(r.log[0], "still served") {
			t.Errorf("%s: log %q", name, r.log)
		}
		if err := os.RemoveAll(second); err != nil {
			t.Fatal(err)
		}
		testcert.Write(t, second, renew())
		r.now = r.now.Add(checkEvery)
	}
}

// Of a file with two certificates one is renewed and the other one breaks: the renewed one counts, the last
// good of the other stays.
func TestHalfRenewed(t *testing.T) {
	r := newRemembering(t)
	issue := func(name string, rsa bool) *testcert.Pair {
		return r.ca.Issue(t, testcert.Spec{Name: name, Names: []string{"mail.example"}, RSA: rsa})
	}
	ec, rsa := issue("ec1", false), issue("rsa1", true)
	both := testcert.Write(t, r.opts.TLS.CertFile, slices.Concat(ec.PEM(t), rsa.PEM(t)))
	served := func() (names []string) {
		found, err := r.opts.Memory.def(&r.opts)
		for _, c := range found {
			names = append(names, c.leaf.Subject.CommonName)
		}
		if err != nil {
			t.Error(err)
		}
		return names
	}
	if got := served(); !slices.Equal(got, []string{"ec1", "rsa1"}) {
		t.Error(got)
	}
	testcert.Write(t, both, slices.Concat(issue("ec2", false).CertPEM(), ec.KeyPEM(t),
		issue("rsa2", true).PEM(t)))
	r.now = r.now.Add(checkEvery)
	if got := served(); !slices.Equal(got, []string{"ec1", "rsa2"}) || len(r.log) != 1 {
		t.Error(got, r.log)
	}
}

// Names that a client invents are not remembered, and of those that have files not more than maxNames.
func TestInventedNames(t *testing.T) {
	r := newRemembering(t)
	for n := range 3 * maxNames {
		if got := r.name(t, fmt.Sprintf("x%d.example.com", n)); got != "default.example" {
			t.Fatal(got)
		}
	}
	m := r.opts.Memory
	if len(m.sets) != 1 {
		t.Errorf("%d sets are remembered", len(m.sets))
	}
	// The directory cannot be listed.
	base := &policies{files: fileList{{r.opts.TLS.CertFile, r.opts.TLS.CertFile}}}
	has := func(name string) bool {
		found, err := m.set(&r.opts, base, name)
		return found != nil || err != nil
	}
	for n := range 3 * maxNames {
		if has(fmt.Sprintf("x%d.example.com", n)) {
			t.Fatal(n)
		}
	}
	if len(m.sets) != 1 {
		t.Errorf("%d sets are remembered", len(m.sets))
	}
	file := testcert.Write(t, filepath.Join(r.dir, "cert.pem.x0.example.com"), r.ca.PEM(t))
	if !has("x0.example.com") {
		t.Error("a name is not found once it has files")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if !has("x0.example.com") {
		t.Error("what was found is not believed for a minute")
	}
	r.now = r.now.Add(checkEvery)
	if has("x0.example.com") || len(m.sets) != 1 {
		t.Errorf("a name whose files are gone is remembered: %d sets", len(m.sets))
	}
	// Files for more names than are kept: any of them is forgotten, and read again.
	pem := r.ca.PEM(t)
	for n := range maxNames + 10 {
		testcert.Write(t, filepath.Join(r.dir, fmt.Sprintf("cert.pem.y%d.example.com", n)), pem)
	}
	for n := range maxNames + 10 {
		if !has(fmt.Sprintf("y%d.example.com", n)) {
			t.Fatal(n)
		}
	}
	if len(m.sets) > maxNames+1 || m.sets[""] == nil {
		t.Errorf("%d sets are kept", len(m.sets))
	}
}

// The keys of tickets and the trusted certificates are read once a minute as well, and what was good stays.
func TestPoliciesOnceAMinute(t *testing.T) {
	r := newRemembering(t)
	trust := testcert.Write(t, filepath.Join(r.dir, "trust.pem"), r.ca.CertPEM())
	r.opts.TLS.Verify, r.opts.TLS.TrustCerts = "PEER", trust
	r.opts.TLS.CacheFile = filepath.Join(r.dir, "cache")
	server := func() *Server {
		t.Helper()
		s, err := NewServer(r.opts)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := server()
	if err := os.Remove(trust); err != nil {
		t.Fatal(err)
	}
	second := server()
	same := second.config.ClientCAs == first.config.ClientCAs
	if first.config == second.config || !same || len(r.log) != 0 {
		t.Errorf("a connection has no configuration of its own, or trust is read again: %q", r.log)
	}
	for range 3 {
		r.now = r.now.Add(checkEvery)
		if s := server(); s.config.ClientCAs != first.config.ClientCAs {
			t.Error("trusted certificates are lost")
		}
	}
	if len(r.log) != 1 || !strings.Contains(r.log[0], "what was read before still counts") {
		t.Errorf("log %q", r.log)
	}
	testcert.Write(t, trust, r.ca.CertPEM())
	r.now = r.now.Add(checkEvery)
	if s := server(); s.config.ClientCAs == first.config.ClientCAs {
		t.Error("new trusted certificates do not count")
	}
}

// A connection that began with TLS and one after STARTTLS have the lowest version that the settings give
// each.
func TestRememberedMinVersion(t *testing.T) {
	r := newRemembering(t)
	r.opts.TLS.Protocol, r.opts.TLS.StartTLSProtocol = tls.VersionTLS13, tls.VersionTLS12
	for n := range 4 {
		o, want := r.opts, uint16(tls.VersionTLS13)
		if n%2 == 1 {
			o.StartTLS, want = true, tls.VersionTLS12
		}
		s, err := NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		if s.config.MinVersion != want {
			t.Errorf("%d: the lowest version is %x, want %x", n, s.config.MinVersion, want)
		}
	}
}

// Settings with which no handshake can be made are said once as well.
func TestPolicyErrorOnce(t *testing.T) {
	r := newRemembering(t)
	r.opts.TLS.Verify, r.opts.TLS.TrustCerts = config.VerifyPeer, "/nowhere"
	for n := range 3 {
		_, err := NewServer(r.opts)
		known, ok := errors.AsType[*CertificateError](err)
		if !ok || known.Again != (n > 0) || !strings.Contains(err.Error(), "TLS_TRUSTCERTS") {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// BenchmarkHandshake makes whole handshakes of TLS 1.3, both sides in this process, over TCP, and says how
// much CPU that takes.
func BenchmarkHandshake(b *testing.B) {
	ca := testcert.CA(b, "Test CA")
	for _, c := range []struct {
		name   string
		memory *Memory
		rsa    bool
	}{
		{"each time", nil, false},
		{"memory", &Memory{}, false},
		{"RSA each time", nil, true},
		{"RSA memory", &Memory{}, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			o := Options{Memory: c.memory}
			pair := ca.Issue(b, testcert.Spec{Name: "a.example", RSA: c.rsa})
			o.TLS.CertFile = testcert.Write(b, filepath.Join(dir, "c"), pair.PEM(b))
			o.TLS.CacheFile = filepath.Join(dir, "cache")
			start := cpu(b)
			for b.Loop() {
				r := shake(b, o, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
				if r.err != nil || r.cerr != nil {
					b.Fatal(r.err, r.cerr)
				}
				r.server.Close()
				r.client.Close()
			}
			b.ReportMetric(float64((cpu(b)-start).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// BenchmarkServer is what a connection costs besides the handshake itself.
func BenchmarkServer(b *testing.B) {
	ca := testcert.CA(b, "Test CA")
	for name, memory := range map[string]*Memory{"each time": nil, "memory": {}} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			o := Options{Memory: memory}
			pair := ca.Issue(b, testcert.Spec{Name: "a.example"})
			o.TLS.CertFile = testcert.Write(b, filepath.Join(dir, "c"), pair.PEM(b))
			o.TLS.CacheFile = filepath.Join(dir, "cache")
			hello := &tls.ClientHelloInfo{ServerName: "a.example", SupportedVersions: []uint16{tls.VersionTLS13}}
			b.ReportAllocs()
			for b.Loop() {
				s, err := NewServer(o)
				if err == nil {
					_, err = s.store.get(hello)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
