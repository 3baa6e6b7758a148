package relaytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"testing"
	"time"

	"mailproxy/relay/tlsrecord"
)

// Certificate returns a fresh self-signed certificate for localhost, as DER chain with key.
func Certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:   pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TLS is a pair with a finished handshake; near is the server's end, as a client's connection comes to a
// relay. It can be detached if detach is set. id is the cipher suite for TLS 1.2, 0 = any.
func TLS(version, id uint16, detach bool) Kind {
	return Kind{Name: fmt.Sprintf("tls%x-%x-%v", version, id, detach), Make: func(t testing.TB) (Conn, Conn) {
		t.Helper()
		near, far := TCP(t, 0)
		cfg := &tls.Config{Certificates: []tls.Certificate{Certificate(t)}, MaxVersion: version,
			MinVersion: version}
		if id != 0 {
			cfg.CipherSuites = []uint16{id}
		}
		s := tlsrecord.Server(near, cfg)
		c := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
		shake(t, s, c)
		if detach {
			if err := s.CanDetach(); err != nil {
				t.Fatal(err)
			}
			return s, c
		}
		return s.Conn, c
	}}
}

// TLSMailhost is the same where the relay is the client of a mailhost.
func TLSMailhost(version uint16) Kind {
	return Kind{Name: fmt.Sprintf("mailhost%x", version), Make: func(t testing.TB) (Conn, Conn) {
		t.Helper()
		near, far := TCP(t, 0)
		c := tlsrecord.Client(near, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
		s := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{Certificate(t)}})
		shake(t, s, c)
		if err := c.CanDetach(); err != nil {
			t.Fatal(err)
		}
		return c, s
	}}
}

func shake(t testing.TB, s, c interface{ Handshake() error }) {
	t.Helper()
	failed := make(chan error, 1)
	go func() { failed <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

// TLSKinds are the ways of encryption that a detached connection has to know.
func TLSKinds() []Kind {
	return []Kind{
		TLS(tls.VersionTLS13, 0, true),
		TLS(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, true),
		TLS(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, true),
		TLS(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, true),
	}
}
