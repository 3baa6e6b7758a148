// Package testcert makes certificates for tests: authorities, servers and users, good and bad, in PEM files.
package testcert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// Spec describes a certificate. The zero value of each field is harmless.
type Spec struct {
	Name    string        // common name; also a DNS or address alternative name unless Names is set
	Names   []string      // DNS names and addresses
	Email   string        // emailAddress in the subject
	AltMail string        // e-mail alternative name
	Age     time.Duration // NotAfter lies this long in the past; negative: in the future, one day when 0
	RSA     bool          // RSA-2048 instead of ECDSA P-256
}

// Pair is a certificate with its key.
type Pair struct {
	DER  []byte
	Cert *x509.Certificate
	Key  crypto.Signer
}

// CA makes an authority of that name.
func CA(t testing.TB, name string) *Pair {
	t.Helper()
	return issue(t, nil, Spec{Name: name}, true)
}

// Issue makes a certificate signed by p, for servers and clients alike.
func (p *Pair) Issue(t testing.TB, s Spec) *Pair {
	t.Helper()
	return issue(t, p, s, false)
}

// Authority makes an authority below p.
func (p *Pair) Authority(t testing.TB, name string) *Pair {
	t.Helper()
	return issue(t, p, Spec{Name: name}, true)
}

// rsaKey is one key for all certificates of a test's process: to find one takes a second with the race
// detector.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func issue(t testing.TB, ca *Pair, s Spec, isCA bool) *Pair {
	t.Helper()
	var key crypto.Signer
	var err error
	if s.RSA {
		key, err = rsaKey()
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	must(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	end := time.Now().Add(24 * time.Hour)
	if s.Age != 0 {
		end = time.Now().Add(-s.Age)
	}
	begin := end.Add(-48 * time.Hour)
	if s.Age < 0 {
		begin = time.Now().Add(-24 * time.Hour)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: s.Name, Organization: []string{"Example"}},
		NotBefore:    begin,
		NotAfter:     end,
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	if s.Email != "" {
		tmpl.Subject.ExtraNames = append(tmpl.Subject.ExtraNames, pkix.AttributeTypeAndValue{
			Type: asn1.ObjectIdentifier{
				1,
				2,
				840,
				113549,
				1,
				9,
				1,
			}, Value: asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte(s.Email)}}) // RFC 5280 section 4.1.2.6
	}
	if s.AltMail != "" {
		tmpl.EmailAddresses = []string{s.AltMail}
	}
	names := s.Names
	if names == nil && !isCA && !strings.Contains(s.Name, " ") {
		names = []string{s.Name}
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	if isCA {
		tmpl.IsCA, tmpl.BasicConstraintsValid = true, true
		tmpl.KeyUsage |= x509.KeyUsageCertSign
	} else {
		tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	parent, signer := tmpl, key
	if ca != nil {
		parent, signer = ca.Cert, ca.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &Pair{der, cert, key}
}

// CertPEM is the certificate alone.
func (p *Pair) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.DER})
}

// KeyDER is the private key in PKCS #8 form.
func (p *Pair) KeyDER(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	must(t, err)
	return der
}

// KeyPEM is the same in PEM.
func (p *Pair) KeyPEM(t testing.TB) []byte {
	t.Helper()
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: p.KeyDER(t)})
}

// PEM is key and certificate in one, as TLS_CERTFILE wants it.
func (p *Pair) PEM(t testing.TB) []byte {
	t.Helper()
	return append(p.KeyPEM(t), p.CertPEM()...)
}

// Write puts data into a file that only its owner may read.
func Write(t testing.TB, path string, data []byte) string {
	t.Helper()
	must(t, os.WriteFile(path, data, 0o600))
	return path
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
