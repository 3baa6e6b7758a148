package tlsconf

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// What may be wrong with a file.
var (
	errNoCert    = errors.New("no CERTIFICATE in PEM form")
	errNoKey     = errors.New("no PRIVATE KEY in PEM form")
	errEncrypted = errors.New("the private key is protected by a pass phrase")
	errMismatch  = errors.New("the private key does not belong to the certificate")
)

// pemText is what a pair of files holds.
type pemText struct {
	files     files
	cert, key []byte
	open      string // name of the key's file when everybody may read it
}

// check looks for a certificate that parses and for a private key that can be used.
func (t *pemText) check() error {
	leaf := pemBlock(t.cert, isCertificate)
	if leaf == nil {
		return errNoCert
	}
	if _, err := x509.ParseCertificate(leaf.Bytes); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	keys := pemBlocks(t.key, isKey)
	switch {
	case len(keys) == 0:
		return errNoKey
	case len(keys) == 1 && isEncrypted(keys[0]):
		return errEncrypted
	}
	return nil
}

// isEncrypted: PKCS #8 says in the block's name that a key is encrypted (RFC 7468 section 11), the older
// forms in a header (RFC 1421 section 4.6.1.1).
func isEncrypted(key *pem.Block) bool {
	return key.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(key.Headers["Proc-Type"], "ENCRYPTED")
}

func isCertificate(kind string) bool { return kind == "CERTIFICATE" }

func isKey(kind string) bool { return strings.HasSuffix(kind, "PRIVATE KEY") }

// pemBlocks returns the PEM blocks of a wanted kind.
func pemBlocks(text []byte, wanted func(kind string) bool) (blocks []*pem.Block) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if wanted(block.Type) {
			blocks = append(blocks, block)
		}
	}
	return blocks
}

// pemBlock returns the first of them.
func pemBlock(text []byte, wanted func(kind string) bool) *pem.Block {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if wanted(block.Type) {
			return block
		}
	}
	return nil
}

// pair puts the first certificate, its chain and the first key together.
func (t *pemText) pair() (*tls.Certificate, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(t.cert, t.key)
	if err == nil {
		return &pair, nil
	}
	if n := t.owner(); n > 1 {
		return nil, fmt.Errorf("%w: certificate %d of the file is the key's and has to be the first one",
			errMismatch, n)
	} else if n == 0 {
		return nil, errMismatch
	}
	return nil, err
}

// owner is the number of the certificate that the private key belongs to, beginning with 1; 0 = of none, -1 =
// the key is none.
func (t *pemText) owner() int {
	key, err := parseKey(pemBlock(t.key, isKey).Bytes)
	if err != nil {
		return -1
	}
	for n, block := range pemBlocks(t.cert, isCertificate) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && belongs(key, cert) {
			return n + 1
		}
	}
	return 0
}

// belongs says whether a private key is that of a certificate.
func belongs(key crypto.Signer, cert *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}

// parseKey reads a private key in any of the forms that PEM blocks of private keys have.
func parseKey(der []byte) (crypto.Signer, error) {
	var key any
	var err error
	if key, err = x509.ParsePKCS8PrivateKey(der); err != nil {
		if key, err = x509.ParsePKCS1PrivateKey(der); err != nil {
			key, err = x509.ParseECPrivateKey(der)
		}
	}
	if err != nil {
		return nil, errors.New("no private key that is understood")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a private key of type %T does not sign", key)
	}
	return signer, nil
}

// oidRSA is the algorithm identifier of RSA keys in PKCS #8 (1.2.840.113549.1.1.1).
var oidRSA = []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01}

// isRSAKey tells an RSA key without parsing it, which takes longer than all the rest.
func isRSAKey(key *pem.Block) bool {
	return key.Type == "RSA PRIVATE KEY" || bytes.Contains(key.Bytes[:min(40, len(key.Bytes))], oidRSA)
}
