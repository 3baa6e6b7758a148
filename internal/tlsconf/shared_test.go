package tlsconf

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailproxy/internal/tlsconf/testcert"
	"mailproxy/internal/tlsfiles"
)

// shareOut makes one handshake as relayd does it: with the files that somebody else has opened.
func shareOut(t testing.TB, s *Shared, o Options, ccfg *tls.Config) (r result) {
	t.Helper()
	o.Warn = func(f string, a ...any) { r.warned += fmt.Sprintf(f, a...) + "\n" }
	files, err := o.files().Open("")
	defer closeFiles(files)
	if err != nil {
		r.err = err
		return r
	}
	p, err := s.Prepare(Request{Options: o, Files: files})
	if err != nil {
		r.err = err
		return r
	}
	r.talk(t, ccfg, func(ctx context.Context, conn net.Conn) (*Conn, error) { return p.Handshake(ctx, conn, o.files().Open) })
	return r
}

// TestSharedParsesOnce: a certificate is read once while its file stays as it is, and never kept while it is so young that it might
// change without a trace.
func TestSharedParsesOnce(t *testing.T) {
	f := newFixture(t)
	s := NewShared()
	now := time.Now()
	s.now = func() time.Time { return now }
	shake := func() {
		t.Helper()
		if r := shareOut(t, s, f.opts, &tls.Config{InsecureSkipVerify: true}); r.err != nil || r.cerr != nil || r.warned != "" {
			t.Fatal(r.err, r.cerr, r.warned)
		}
	}
	shake()
	if len(s.pairs.all) != 0 {
		t.Error("a file that has just been written is kept")
	}
	now = now.Add(time.Minute)
	shake()
	shake()
	if len(s.pairs.all) != 1 || len(s.policies.all) != 1 {
		t.Errorf("%d pairs, %d policies", len(s.pairs.all), len(s.policies.all))
	}
	path := f.opts.Settings["TLS_CERTFILE"]
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, data, 0o600) // the same again: another change
	}
	if err != nil {
		t.Fatal(err)
	}
	shake()
	if len(s.pairs.all) != 2 {
		t.Errorf("%d pairs after a change", len(s.pairs.all))
	}
	now = now.Add(time.Minute)
	shake()
	s.Forget(30 * time.Second)
	if len(s.pairs.all) != 1 {
		t.Errorf("%d pairs: the key that was replaced is still there", len(s.pairs.all))
	}
}

// TestSharedIsBounded: hosts without end do not fill the memory, and those in use stay.
func TestSharedIsBounded(t *testing.T) {
	c := newCache[int, int](3)
	now := time.Now()
	for i := range 100 {
		now = now.Add(time.Millisecond)
		c.put(i, i, now)
		if v, ok := c.get(0, now); !ok || v != 0 {
			t.Fatalf("what is in use was dropped at %d", i)
		}
	}
	if len(c.all) != 3 {
		t.Errorf("%d values", len(c.all))
	}
	if _, ok := c.get(50, now); ok {
		t.Error("an old one is still there")
	}
}

// TestSharedFiles: what is no certificate, or no file, is an error before the handshake.
func TestSharedFiles(t *testing.T) {
	f := newFixture(t)
	s := NewShared()
	open := func(path string) int {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return int(file.Fd())
	}
	good := open(f.opts.Settings["TLS_CERTFILE"])
	big := filepath.Join(f.dir, "big")
	if err := errors.Join(os.WriteFile(big, nil, 0o600), os.Truncate(big, tlsfiles.MaxTrust+1)); err != nil {
		t.Fatal(err)
	}
	peer := map[string]string{"TLS_VERIFYPEER": "PEER"}
	for _, tc := range []struct {
		settings map[string]string
		files    map[string]int
		want     string
	}{
		{nil, nil, "no certificate"}, {nil, map[string]int{"KEY": good}, "no certificate"}, {nil, map[string]int{"CERT": -1}, "bad file descriptor"},
		{nil, map[string]int{"CERT": open(f.dir)}, "not a regular file"}, {nil, map[string]int{"CERT": open(big)}, "more than"},
		{nil, map[string]int{"CERT": good, "KEY": open("/dev/null")}, "not a regular file"},
		{nil, map[string]int{"CERT": open(testcert.Write(t, filepath.Join(f.dir, "x"), f.ca.CertPEM()))}, tlsfiles.ErrNoKey.Error()},
		{peer, map[string]int{"CERT": good}, "no trusted certificates"}, {peer, map[string]int{"CERT": good, "TRUST": open(big)}, "more than"},
		{peer, map[string]int{"CERT": good, "TRUST": open(testcert.Write(t, filepath.Join(f.dir, "y"), nil))}, "no certificate in the file"},
		{map[string]string{"TLS_VERIFYPEER": "WHY"}, map[string]int{"CERT": good}, "TLS_VERIFYPEER"},
		{map[string]string{"TLS_CIPHER_LIST": "NULL"}, map[string]int{"CERT": good}, "TLS_CIPHER_LIST"},
		{nil, map[string]int{"CERT": good}, ""},
	} {
		_, err := s.Prepare(Request{Options: Options{Settings: tc.settings}, Files: tc.files})
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%v %v: %v, want %q", tc.settings, tc.files, err, tc.want)
		}
	}
	if _, err := s.Prepare(Request{Options: Options{Settings: map[string]string{"PROXY_TLS_VERIFYPEER": "HOW"}}, Host: "x"}); err == nil {
		t.Error("PROXY_TLS_VERIFYPEER=HOW is accepted")
	}
}

// TestSharedWarns as a process of its own does: of settings with every connection, of a certificate that has expired.
func TestSharedWarns(t *testing.T) {
	f := newFixture(t)
	s := NewShared()
	o := f.opts
	o.Settings = map[string]string{"TLS_CIPHER_LIST": "HIGH:NONSENSE",
		"TLS_CERTFILE": testcert.Write(t, filepath.Join(f.dir, "old.pem"), f.ca.Issue(t, testcert.Spec{Name: "old.example", Age: time.Hour}).PEM(t))}
	for range 2 {
		r := shareOut(t, s, o, &tls.Config{InsecureSkipVerify: true})
		if r.err != nil || strings.Count(r.warned, "NONSENSE") != 1 || strings.Count(r.warned, `the certificate of "old.example" expired on `) != 1 {
			t.Errorf("%v, warned %q", r.err, r.warned)
		}
	}
}

func BenchmarkShared(b *testing.B) {
	f := newFixture(b)
	s := NewShared()
	s.now = func() time.Time { return time.Now().Add(time.Minute) }
	for b.Loop() {
		if r := shareOut(b, s, f.opts, &tls.Config{InsecureSkipVerify: true}); r.err != nil {
			b.Fatal(r.err)
		}
	}
}
