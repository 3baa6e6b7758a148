package tlsconf

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailproxy/tests/clock"
	"mailproxy/tests/testcert"
)

// A certificate that is renewed in two steps, is damaged or disappears: the last good pair is served, and the
// log says so once.
func TestMemory(t *testing.T) {
	f := newFixture(t)
	old, renewed := f.ca.Issue(t, testcert.Spec{Name: "old"}), f.ca.Issue(t, testcert.Spec{Name: "new"})
	o := f.opts
	o.TLS.KeyFile = filepath.Join(f.dir, "key.pem")
	o.Memory = &Memory{}
	now := time.Now()
	o.Now = func() time.Time { return now }
	var log []string
	tell := func(level string) func(string, ...any) {
		return func(format string, a ...any) { log = append(log, level+": "+fmt.Sprintf(format, a...)) }
	}
	o.Warn, o.Err = tell("WARN"), tell("ERR")
	write := func(path string, content []byte) func() {
		return func() { testcert.Write(t, path, content) }
	}
	cert, key := o.TLS.CertFile, o.TLS.KeyFile
	for _, step := range []struct {
		name  string
		do    func()
		want  string // common name of the certificate, or the error
		again bool
		log   string // part of the one new line
	}{
		{"no key yet", write(cert, old.CertPEM()), "key.pem: no such file", false, ""},
		{"still not", func() {}, "key.pem: no such file", true, ""},
		{"another's key", write(key, renewed.KeyPEM(t)), errMismatch.Error(), false, ""},
		{"still another's", func() {}, errMismatch.Error(), true, ""},
		{"good", write(key, old.KeyPEM(t)), "old", false, ""},
		{"unchanged", func() {}, "old", false, ""},
		{"renewed, without its key", write(cert, renewed.CertPEM()), "old", false,
			"ERR: " + cert + ", " + key + ": " + errMismatch.Error()},
		{"still without", func() {}, "old", false, ""},
		{"half written", write(cert, renewed.CertPEM()[:100]), "old", false,
			"ERR: " + cert + ", " + key + ": " + errNoCert.Error()},
		{"gone", func() { os.Remove(cert) }, "old", false, "ERR: TLS_CERTFILE: open " + cert},
		{"back, without its key", write(cert, renewed.CertPEM()), "old", false, "is still served"},
		{"with its key", write(key, renewed.KeyPEM(t)), "new", false, ""},
		{"without it once more", write(key, old.KeyPEM(t)), "new", false, "still served"},
		{"taken back", write(key, renewed.KeyPEM(t)), "new", false, ""},
		{"expired", func() { now = now.Add(48 * time.Hour) }, "new", false,
			"WARN: " + cert + ": the certificate expired"},
		{"still expired", func() {}, "new", false, ""},
	} {
		step.do()
		now = now.Add(checkEvery)
		log = nil
		checked := Check(o)
		found, err := o.Memory.def(&o)
		var bad *CertificateError
		switch {
		case (checked == nil) != (err == nil):
			t.Errorf("%s: Check says %v, the handshake %v", step.name, checked, err)
		case err == nil && found[0].leaf.Subject.CommonName != step.want:
			t.Errorf("%s: certificate of %s, want %s", step.name, found[0].leaf.Subject.CommonName, step.want)
		case err != nil && (!errors.As(err, &bad) || !strings.Contains(err.Error(), step.want)):
			t.Errorf("%s: %v, want %q", step.name, err, step.want)
		}
		if err != nil && errors.As(checked, &bad) && bad.Again != step.again {
			t.Errorf("%s: said before: %+v, want %v", step.name, bad, step.again)
		}
		if n := len(log); n != min(1, len(step.log)) || n == 1 && !strings.Contains(log[0], step.log) {
			t.Errorf("%s: log %q, want one line %q", step.name, log, step.log)
		}
	}
}

// The pair for a name falls back on its own last good one, and on the default when there never was one.
func TestMemoryByName(t *testing.T) {
	f := newFixture(t)
	o := f.opts
	o.Memory = &Memory{}
	now := time.Now()
	o.Now = func() time.Time { return now }
	own := filepath.Join(f.dir, "cert.pem.www.example.com")
	got := func() (name, warned string) {
		r := shake(t, o, &tls.Config{ServerName: "www.example.com", InsecureSkipVerify: true})
		if r.err != nil || r.cerr != nil {
			t.Fatal(r.err, r.cerr)
		}
		return r.client.ConnectionState().PeerCertificates[0].Subject.CommonName, r.warned
	}
	for _, step := range []struct {
		content      []byte
		name, warned string
	}{
		{[]byte("nonsense"), "default.example", "no TLS certificate for"},
		{nil, "default.example", ""},
		{f.ca.Issue(t, testcert.Spec{Name: "www.example.com"}).PEM(t), "www.example.com", ""},
		{[]byte("nonsense"), "www.example.com", "still served"},
		{nil, "www.example.com", ""},
	} {
		if step.content != nil { // else unchanged
			testcert.Write(t, own, step.content)
		}
		now = now.Add(checkEvery)
		name, warned := got()
		if name != step.name || (warned != "") != (step.warned != "") || !strings.Contains(warned, step.warned) {
			t.Errorf("certificate of %s, warned %q; want %s, %q", name, warned, step.name, step.warned)
		}
	}
}

// Many handshakes at once during a renewal all get one of the two certificates.
func TestMemoryAtOnce(t *testing.T) {
	f := newFixture(t)
	o := f.opts
	o.Memory = &Memory{}
	if err := Check(o); err != nil {
		t.Fatal(err)
	}
	var ahead atomic.Int64 // each look at the clock finds it 15 seconds later
	o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Add(1)) * checkEvery / 4) }
	renewed := f.ca.Issue(t, testcert.Spec{Name: "new"}).PEM(t)
	own := testcert.Write(t, o.TLS.CertFile+".www.example.com", renewed)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 50 {
				if _, err := o.Memory.def(&o); err != nil {
					t.Error(err)
				}
				if _, err := o.Memory.named(&o, "www.example.com"); err != nil {
					t.Error(err)
				}
				if _, err := NewServer(o); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	for n := range renewed {
		if n%100 == 0 {
			testcert.Write(t, o.TLS.CertFile, renewed[:n])
		}
	}
	testcert.Write(t, o.TLS.CertFile, renewed)
	wait.Wait()
	ahead.Add(4)
	if found, err := o.Memory.def(&o); err != nil || found[0].leaf.Subject.CommonName != "new" {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestMemoryClockSteps: files are looked at once in the minute that passes, and a line is written once in the
// hour that passes, however the clock is set meanwhile.
func TestMemoryClockSteps(t *testing.T) {
	for name, step := range clock.Steps() {
		var c clock.Clock
		looks, l, m := 0, cached[int]{}, Memory{}
		get := func() { l.get(c.Now(), func(int) int { looks++; return looks }) }
		o := &Options{Now: c.Now}
		get()
		m.shouldLog(o, "line")
		c.Set(step)
		c.Pass(checkEvery - time.Second)
		get()
		if looks != 1 || m.shouldLog(o, "line") {
			t.Errorf("%s: after less than a minute %d looks", name, looks)
		}
		c.Set(-2 * step)
		c.Pass(2 * time.Second)
		get()
		if looks != 2 {
			t.Errorf("%s: after a minute %d looks", name, looks)
		}
		c.Pass(logEvery)
		if !m.shouldLog(o, "line") {
			t.Errorf("%s: no line after an hour", name)
		}
	}
}
