package tlsconf

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"path/filepath"
	"testing"
	"time"

	"mailproxy/internal/config"
	"mailproxy/tests/testcert"
)

func TestMailhostCertificate(t *testing.T) {
	ca := testcert.CA(t, "Test CA")
	dir := t.TempDir()
	trust := testcert.Write(t, filepath.Join(dir, "ca.pem"), ca.CertPEM())
	good := ca.Issue(t, testcert.Spec{Name: "mail.example", Names: []string{"mail.example", "*.wild.example",
		"127.0.0.5"}})
	expired := ca.Issue(t, testcert.Spec{Name: "mail.example", Age: time.Hour})
	other := testcert.CA(t, "Other").Issue(t, testcert.Spec{Name: "mail.example"})
	for _, c := range []struct {
		name   string
		pair   *testcert.Pair
		host   string
		verify config.Verify
		trust  string
		ok     bool
	}{
		{"good", good, "mail.example", "", trust, true},
		{"case", good, "MAIL.Example", "PEER", trust, true},
		{"final dot", good, "mail.example.", "PEER", trust, true},
		{"wildcard", good, "a.wild.example", "PEER", trust, true},
		{"address", good, "127.0.0.5", "PEER", trust, true},
		{"other address", good, "127.0.0.6", "PEER", trust, false},
		{"wrong name", good, "evil.example", "PEER", trust, false},
		{"expired", expired, "mail.example", "PEER", trust, false},
		{"unknown CA", other, "mail.example", "PEER", trust, false},
		{"system roots", good, "mail.example", "PEER", "", false},
		{"no verification", other, "evil.example", "NONE", trust, true},
		{"directory", good, "mail.example", "PEER", dir, true},
	} {
		cfg, err := NewClient(config.MailhostTLS{Verify: c.verify, TrustCerts: c.trust}, c.host)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		server, client := pipe(t)
		go func() {
			tls.Server(server, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{c.pair.DER},
				PrivateKey: c.pair.Key}}}).Handshake()
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		_, err = Connect(ctx, client, cfg)
		cancel()
		if (err == nil) != c.ok {
			t.Errorf("%s: %v, want ok=%v", c.name, err, c.ok)
		}
	}
	for _, path := range []string{"/nonexistent", testcert.Write(t, filepath.Join(dir, "empty.pem"), nil)} {
		if _, err := NewClient(config.MailhostTLS{TrustCerts: path}, "x"); err == nil {
			t.Errorf("%s: accepted", path)
		}
	}
}

func FuzzSettings(f *testing.F) {
	dir := f.TempDir()
	pair := testcert.CA(f, "x")
	cert := testcert.Write(f, filepath.Join(dir, "c"), pair.PEM(f))
	f.Add("TLSv1.2", "HIGH", "NONE", "", "imap", "emailaddress", "127.0.0.1", "www.example.com")
	f.Add("SSL3", "!", "PEER", cert, ":,", "\x00", "fe80::1%eth0", "../../etc/passwd")
	f.Fuzz(func(t *testing.T, protocol, ciphers, verify, trust, alpn, external, ip, sni string) {
		settings := []string{"TLS_CERTFILE=" + cert, "TLS_PROTOCOL=" + protocol, "TLS_CIPHER_LIST=" + ciphers,
			"TLS_VERIFYPEER=" + verify, "TLS_ALPN=" + alpn, "TLS_EXTERNAL=" + external}
		if trust == cert {
			settings = append(settings, "TLS_TRUSTCERTS="+trust)
		}
		c, err := config.Load(nil, settings, config.IMAP)
		if err != nil {
			return
		}
		s, err := NewServer(Options{TLS: c.TLS, LocalIP: ip})
		if err != nil {
			return
		}
		if _, err := s.store.get(&tls.ClientHelloInfo{ServerName: sni}); err != nil {
			t.Errorf("no certificate for name %q at %q: %v", sni, ip, err)
		}
	})
}

func FuzzPEM(f *testing.F) {
	p := testcert.CA(f, "x")
	f.Add(p.PEM(f))
	f.Add(p.Issue(f, testcert.Spec{Name: "y", RSA: true}).PEM(f))
	both := append(p.Issue(f, testcert.Spec{Name: "y", RSA: true}).PEM(f),
		p.Issue(f, testcert.Spec{Name: "y"}).PEM(f)...)
	f.Add(both)
	f.Add(append(p.PEM(f), both...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		text := pemText{cert: data, key: data}
		_, _, _, cerr := text.check()
		if _, err := tls.X509KeyPair(data, data); err == nil && cerr != nil {
			t.Errorf("the check refuses what loads: %v", cerr)
		}
		// What crypto/tls makes of a file is among what we do, and all we do is whole.
		want, _ := tls.X509KeyPair(data, data)
		found, _ := text.candidates()
		same := len(want.Certificate) == 0
		for _, c := range found {
			cert, err := c.load()
			if err != nil {
				continue
			}
			key, ok := cert.PrivateKey.(crypto.Signer)
			if !ok || !belongs(key, c.leaf) || len(cert.Certificate) == 0 {
				t.Errorf("a certificate of %s with another key", goodFor(c.leaf))
			}
			same = same || bytes.Equal(want.Certificate[0], cert.Certificate[0])
		}
		if !same {
			t.Error("the certificate that crypto/tls loads is not found")
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	p := testcert.CA(b, "x").Issue(b, testcert.Spec{Name: "y", RSA: true})
	o := Options{TLS: config.TLS{CertFile: testcert.Write(b, filepath.Join(b.TempDir(), "c"), p.PEM(b))}}
	for b.Loop() {
		if err := Check(o); err != nil {
			b.Fatal(err)
		}
	}
}
