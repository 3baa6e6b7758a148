package tlsconf

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/testcert"
)

// clients differ in what certificates they can use.
func clients() map[string]*tls.Config {
	return map[string]*tls.Config{
		"1.3": {InsecureSkipVerify: true},
		"1.2 ECDSA": {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}},
		"1.2 RSA": {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}},
	}
}

// kindOf is the kind of the key of the certificate that the client got, and its name.
func (r *result) kindOf(t *testing.T) string {
	t.Helper()
	if r.err != nil || r.cerr != nil {
		return "none"
	}
	leaf := r.client.ConnectionState().PeerCertificates[0]
	return strings.Fields(strings.ReplaceAll(keyKind(leaf), "-", " "))[0] + " " + leaf.Subject.CommonName
}

// Two kinds of keys, in every layout of files: each client gets the one that it can use, with its chain,
// ECDSA where both will do, with and without a memory, from the default files and those of a name and an
// address.
func TestSeveralCertificates(t *testing.T) {
	ca := testcert.CA(t, "Test CA")
	mid := ca.Authority(t, "Intermediate")
	ec := mid.Issue(t, testcert.Spec{Name: "a.example"})
	rsa := ca.Issue(t, testcert.Spec{Name: "a.example", RSA: true})
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	for _, c := range []struct {
		name      string
		files     map[string][]byte
		cert, key string
	}{
		{"one file", map[string][]byte{"C": join(rsa.PEM(t), ec.PEM(t), mid.CertPEM())}, "C", ""},
		{"certificates first, then chains, then keys", map[string][]byte{
			"C": join(ec.CertPEM(), rsa.CertPEM(), mid.CertPEM(), ca.CertPEM(), ec.KeyPEM(t), rsa.KeyPEM(t)),
		}, "C", ""},
		{"a file each", map[string][]byte{"C": rsa.PEM(t), "D": join(ec.PEM(t), mid.CertPEM())}, "C D", ""},
		{"a file each, keys apart", map[string][]byte{
			"C": join(ec.CertPEM(), mid.CertPEM()), "D": rsa.CertPEM(), "K": ec.KeyPEM(t), "L": rsa.KeyPEM(t),
		}, "C D", "K L"},
		{"all keys in one", map[string][]byte{
			"C": join(ec.CertPEM(), mid.CertPEM()), "D": rsa.CertPEM(), "K": join(rsa.KeyPEM(t), ec.KeyPEM(t)),
		}, "C D", "K"},
		{"two files", map[string][]byte{
			"C": join(ec.CertPEM(), mid.CertPEM(), rsa.CertPEM()), "K": join(rsa.KeyPEM(t), ec.KeyPEM(t)),
		}, "C", "K"},
	} {
		for _, suffix := range []string{"", ".a.example", ".127.0.0.7"} {
			for _, memory := range []*Memory{nil, {}} {
				dir := t.TempDir()
				o := Options{Memory: memory, LocalIP: "::ffff:127.0.0.7"}
				o.Err = func(f string, a ...any) { t.Errorf("%s: "+f, append([]any{c.name}, a...)...) }
				for name, content := range c.files {
					testcert.Write(t, filepath.Join(dir, name+suffix), content)
					if suffix != "" && name != "K" && name != "L" {
						testcert.Write(t, filepath.Join(dir, name), ca.PEM(t))
					}
				}
				o.TLS.CertFile, o.TLS.KeyFile = inDir(dir, c.cert), inDir(dir, c.key)
				if suffix == ".a.example" && c.key != "" {
					// The default's certificates have their key in K.
					testcert.Write(t, filepath.Join(dir, "K"), ca.KeyPEM(t))
					testcert.Write(t, filepath.Join(dir, "L"), ca.KeyPEM(t))
				}
				for client, want := range map[string]string{
					"1.3": "ECDSA a.example", "1.2 ECDSA": "ECDSA a.example", "1.2 RSA": "RSA a.example",
				} {
					cfg := clients()[client]
					cfg.ServerName = "a.example"
					r := shake(t, o, cfg)
					if got := r.kindOf(t); got != want || r.warned != "" {
						t.Errorf("%s%s, client %s: %s, want %s (%v, %v, %s)",
							c.name, suffix, client, got, want, r.err, r.cerr, r.warned)
						continue
					}
					chain := r.client.ConnectionState().PeerCertificates
					if strings.HasPrefix(want, "ECDSA") && (len(chain) < 2 || !chain[1].Equal(mid.Cert)) {
						t.Errorf("%s%s, client %s: a chain of %d", c.name, suffix, client, len(chain))
					}
				}
			}
		}
	}
}

func inDir(dir, names string) string {
	var paths []string
	for _, name := range strings.Fields(names) {
		paths = append(paths, filepath.Join(dir, name))
	}
	return strings.Join(paths, " ")
}

// Of several certificates one does not load: the others serve, and its file is named.
func TestOneOfSeveralBroken(t *testing.T) {
	ca := testcert.CA(t, "Test CA")
	ec, other := ca.Issue(t, testcert.Spec{Name: "a.example"}), ca.Issue(t, testcert.Spec{Name: "a.example"})
	rsa := ca.Issue(t, testcert.Spec{Name: "a.example", RSA: true})
	expired := ca.Issue(t, testcert.Spec{Name: "a.example", Age: time.Hour})
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{0x30, 0}})
	mismatched := slices.Concat(ec.CertPEM(), other.KeyPEM(t))
	for _, c := range []struct {
		name string
		c, d []byte
		want string // for TLS 1.3
		err  string // part of the one ERR line
	}{
		{"gone", nil, rsa.PEM(t), "RSA a.example", "open DIR/C: no such file"},
		{"nonsense", []byte("x"), rsa.PEM(t), "RSA a.example", "DIR/C: " + errNoCert.Error()},
		{"wrong key", mismatched, rsa.PEM(t), "RSA a.example", "DIR/C: " + errMismatch.Error()},
		{"pass phrase", slices.Concat(ec.CertPEM(), encrypted), rsa.PEM(t), "RSA a.example",
			"DIR/C: " + errEncrypted.Error()},
		{"wrong key in a file of both", nil, slices.Concat(mismatched, rsa.PEM(t)), "RSA a.example",
			"DIR/D: certificate 1, for a.example"},
		{"pass phrase in a file of both", nil, slices.Concat(ec.CertPEM(), encrypted, rsa.PEM(t)), "RSA a.example",
			"pass phrase"},
		{"a damaged certificate in a file of both", nil, slices.Concat(rsa.PEM(t),
			[]byte("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"), ec.KeyPEM(t)), "RSA a.example",
			"DIR/D: certificate 2: "},
		{"expired", expired.PEM(t), rsa.PEM(t), "RSA a.example", ""},
		{"none", []byte("x"), []byte("y"), "none", ""},
	} {
		for _, memory := range []*Memory{nil, {}} {
			dir := t.TempDir()
			o := Options{Memory: memory}
			var log []string
			o.Err = func(f string, a ...any) { log = append(log, sprint(dir, f, a)) }
			names := "D"
			if c.c != nil || c.name == "gone" {
				names = "C D"
			}
			if c.c != nil {
				testcert.Write(t, filepath.Join(dir, "C"), c.c)
			}
			testcert.Write(t, filepath.Join(dir, "D"), c.d)
			o.TLS.CertFile = inDir(dir, names)
			r := shake(t, o, clients()["1.3"])
			if got := r.kindOf(t); got != c.want {
				t.Errorf("%s: %s, want %s (%v)", c.name, got, c.want, r.err)
			}
			if c.err == "" != (len(log) == 0) || len(log) > 1 || c.err != "" && !strings.Contains(log[0], c.err) {
				t.Errorf("%s: log %q, want %q", c.name, log, c.err)
			}
			both := r.err != nil && strings.Contains(r.err.Error(), "/C: ") && strings.Contains(r.err.Error(), "/D: ")
			if c.want == "none" && !both {
				t.Errorf("%s: %v", c.name, r.err)
			}
		}
	}
}

func sprint(dir, format string, a []any) string {
	return strings.ReplaceAll(fmt.Sprintf(format, a...), dir, "DIR")
}

// A certificate of the name that the client asks for goes before one of a cheaper kind.
func TestNameBeforeKind(t *testing.T) {
	ca := testcert.CA(t, "Test CA")
	dir := t.TempDir()
	testcert.Write(t, filepath.Join(dir, "C"), ca.Issue(t, testcert.Spec{Name: "a.example"}).PEM(t))
	testcert.Write(t, filepath.Join(dir, "D"), ca.Issue(t, testcert.Spec{Name: "b.example", RSA: true}).PEM(t))
	for name, want := range map[string]string{
		"a.example": "ECDSA a.example", "b.example": "RSA b.example", "": "ECDSA a.example",
	} {
		o := Options{}
		o.TLS.CertFile = inDir(dir, "C D")
		r := shake(t, o, &tls.Config{InsecureSkipVerify: true, ServerName: name})
		if got := r.kindOf(t); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

// Tickets that came with one certificate are good where the other one is chosen as well.
func TestResumptionWithSeveral(t *testing.T) {
	ca := testcert.CA(t, "Test CA")
	for _, memory := range []*Memory{nil, {}} {
		dir := t.TempDir()
		o := Options{Memory: memory}
		o.TLS.CacheFile = filepath.Join(dir, "cache")
		o.TLS.CertFile = testcert.Write(t, filepath.Join(dir, "C"), slices.Concat(
			ca.Issue(t, testcert.Spec{Name: "a.example"}).PEM(t),
			ca.Issue(t, testcert.Spec{Name: "a.example", RSA: true}).PEM(t)))
		for name, cfg := range clients() {
			cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			cfg.ServerName = "a.example"
			for _, want := range []bool{false, true, true} {
				r := shake(t, o, cfg)
				if r.err != nil || r.cerr != nil || r.client.ConnectionState().DidResume != want {
					t.Errorf("%s: %v, %v, resumed %v", name, r.err, r.cerr, !want)
				}
			}
		}
	}
}
