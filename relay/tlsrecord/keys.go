// Package tlsrecord carries on a TLS connection after its handshake, at the price of a few hundred bytes
// while it idles.
//
// crypto/tls makes the handshake; a tap under it notes the traffic secrets and counts the records. Detach
// then takes the connection away from crypto/tls, and a Codec opens and seals its records from there on (TLS
// 1.3: RFC 8446 section 5, TLS 1.2: RFC 5246 section 6 with the AEAD suites of RFC 5288 and RFC 7905).
// Connections that cannot be carried on that way (CBC suites, TLS 1.1 and older, a key update before Detach)
// stay with crypto/tls.
//
// It deliberately lacks handshakes, certificates, renegotiation and every cipher that is not an AEAD.
package tlsrecord

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// errUnfit reports a connection that only crypto/tls can carry on.
var errUnfit = errors.New("TLS connection cannot be detached")

// suite is what the record layer needs to know of a cipher suite.
type suite struct {
	keyLen int
	ivLen  int // of the implicit part of the nonce: 4 for AES-GCM in TLS 1.2, else 12
	chacha bool
	hash   func() hash.Hash
}

// find returns the suite for a version, errUnfit for one that is no AEAD.
func find(version, id uint16) (s suite, err error) {
	gcmIV := 12
	if version == tls.VersionTLS12 {
		gcmIV = 4
	}
	switch id {
	case tls.TLS_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256:
		s = suite{keyLen: 16, ivLen: gcmIV, hash: sha256.New}
	case tls.TLS_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_RSA_WITH_AES_256_GCM_SHA384:
		s = suite{keyLen: 32, ivLen: gcmIV, hash: sha512.New384}
	case tls.TLS_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:
		s = suite{keyLen: 32, ivLen: 12, chacha: true, hash: sha256.New}
	default:
		return s, fmt.Errorf("%w: cipher suite %s", errUnfit, tls.CipherSuiteName(id))
	}
	if version != tls.VersionTLS12 && version != tls.VersionTLS13 {
		return s, fmt.Errorf("%w: version %#x", errUnfit, version)
	}
	return s, nil
}

// aead returns the cipher for a key.
func (s *suite) aead(key []byte) (cipher.AEAD, error) {
	if s.chacha {
		return chacha20poly1305.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
func expandLabel(h func() hash.Hash, secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len(label)))
	info = append(info, label...)
	info = append(info, 0)
	return hkdf.Expand(h, secret, string(info), n)
}

// keyBlock12 returns key and implicit nonce of both writers from TLS 1.2's master secret (RFC 5246 section
// 6.3; an AEAD has no MAC keys).
func keyBlock12(s *suite, master, clientRandom, serverRandom []byte) (client, server []byte) {
	seed := append([]byte("key expansion"), serverRandom...)
	seed = append(seed, clientRandom...)
	n := 2 * (s.keyLen + s.ivLen)
	block := prf(s.hash, master, seed, n)
	k, iv := block[:2*s.keyLen], block[2*s.keyLen:]
	client = append(append([]byte(nil), k[:s.keyLen]...), iv[:s.ivLen]...)
	server = append(append([]byte(nil), k[s.keyLen:]...), iv[s.ivLen:]...)
	return client, server
}

// prf is P_hash of RFC 5246 section 5; seed includes the label.
func prf(h func() hash.Hash, secret, seed []byte, n int) (out []byte) {
	mac := func(parts ...[]byte) []byte {
		m := hmac.New(h, secret)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	for a := mac(seed); len(out) < n; a = mac(a) {
		out = append(out, mac(a, seed)...)
	}
	return out[:n]
}
