package tlsconf

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mailproxy/tests/testcert"
)

// bindings returns those of a server's connection by type.
func bindings(c *Conn) map[string][]byte {
	m := map[string][]byte{}
	for _, b := range c.Bindings() {
		m[b.Type] = b.Data
	}
	return m
}

// Both ends know the same, also where a session is resumed by another process and no certificate is shown;
// the certificate is the one of the name that the client has asked for, and not the default one.
func TestBindings(t *testing.T) {
	f := newFixture(t)
	f.opts.TLS.CacheFile = filepath.Join(f.dir, "cache")
	named := f.ca.Issue(t, testcert.Spec{Name: "named.example", RSA: true})
	testcert.Write(t, f.opts.TLS.CertFile+".named.example", named.PEM(t))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := &tls.Config{
			InsecureSkipVerify: true, MaxVersion: version, ServerName: "named.example",
			ClientSessionCache: tls.NewLRUClientSessionCache(1),
		}
		// The ticket of the second session is a new one, of a session that was resumed.
		for n := range 3 {
			r := shake(t, f.opts, cfg)
			if r.err != nil || r.cerr != nil {
				t.Fatal(r.err, r.cerr)
			}
			state := r.client.ConnectionState()
			if state.DidResume != (n > 0) {
				t.Fatalf("version %x, session %d: resumed %v %s", version, n, state.DidResume, r.warned)
			}
			exported, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
			if err != nil {
				t.Fatal(err)
			}
			hashed := sha256.Sum256(state.PeerCertificates[0].Raw)
			if name := state.PeerCertificates[0].DNSNames; !slices.Contains(name, "named.example") {
				t.Fatalf("the certificate of %q", name)
			}
			got := bindings(r.server)
			want := map[string][]byte{"tls-exporter": exported, "tls-server-end-point": hashed[:]}
			if !maps.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("version %x, session %d: %x, want %x", version, n, got, want)
			}
			// They are known for as long as this process has the connection. (crypto/tls does not tell the keys of
			// a resumed session of TLS 1.2, which cannot be given away.)
			if version == tls.VersionTLS12 && n > 0 {
				continue
			}
			if _, err := r.server.Detach(); err != nil || !maps.EqualFunc(bindings(r.server), want, bytes.Equal) {
				t.Errorf("version %x, session %d: %v, other bindings afterwards", version, n, err)
			}
		}
	}
}

// A ticket of a process that does not note certificates resumes the session, whose certificate is then not
// known.
func TestBindingOfOldTicket(t *testing.T) {
	f := newFixture(t)
	f.opts.TLS.CacheFile = filepath.Join(f.dir, "cache")
	cfg := &tls.Config{
		InsecureSkipVerify: true, ServerName: "x", ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
	old, err := NewServer(f.opts)
	if err != nil {
		t.Fatal(err)
	}
	old.config.WrapSession = nil
	var r result
	if r.talk(t, cfg, old.Handshake); r.err != nil || r.cerr != nil {
		t.Fatal(r.err, r.cerr)
	}
	r = shake(t, f.opts, cfg)
	if r.err != nil || !r.client.ConnectionState().DidResume {
		t.Fatalf("not resumed: %v", r.err)
	}
	got := bindings(r.server)
	if len(got) != 1 || len(got["tls-exporter"]) != 32 {
		t.Errorf("%x", got)
	}
}

// The hash is that of the certificate's signature (RFC 5929 section 4.1).
func TestEndPointHash(t *testing.T) {
	raw := []byte("a certificate")
	of := func(a x509.SignatureAlgorithm) *tls.Certificate {
		return &tls.Certificate{Certificate: [][]byte{raw}, Leaf: &x509.Certificate{SignatureAlgorithm: a}}
	}
	small, middle, large := sha256.Sum256(raw), sha512.Sum384(raw), sha512.Sum512(raw)
	for algorithm, want := range map[x509.SignatureAlgorithm][]byte{
		x509.MD5WithRSA: small[:], x509.SHA1WithRSA: small[:], x509.ECDSAWithSHA1: small[:],
		x509.SHA256WithRSA: small[:], x509.SHA256WithRSAPSS: small[:], x509.ECDSAWithSHA256: small[:],
		x509.SHA384WithRSA: middle[:], x509.SHA384WithRSAPSS: middle[:], x509.ECDSAWithSHA384: middle[:],
		x509.SHA512WithRSA: large[:], x509.SHA512WithRSAPSS: large[:], x509.ECDSAWithSHA512: large[:],
		x509.PureEd25519: nil, x509.UnknownSignatureAlgorithm: nil,
	} {
		if got := endPoint(of(algorithm)); !bytes.Equal(got, want) {
			t.Errorf("%v: %x, want %x", algorithm, got, want)
		}
	}
	// Without a parsed certificate it is parsed, and one that cannot be is not known.
	if got := endPoint(&tls.Certificate{Certificate: [][]byte{raw}}); got != nil {
		t.Errorf("%x", got)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	if got := endPoint(&tls.Certificate{Certificate: [][]byte{der}}); got != nil {
		t.Errorf("Ed25519: %x", got)
	}
}
