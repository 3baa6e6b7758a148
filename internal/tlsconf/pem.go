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

// check looks for a certificate that parses and for a private key that can be used. It returns the first
// certificate and, still encoded, all of them and the private keys.
func (t *pemText) check() (leaf *x509.Certificate, certs, keys []*pem.Block, err error) {
	certs, keys = t.blocks()
	if len(certs) == 0 {
		return nil, nil, nil, errNoCert
	}
	leaf, err = x509.ParseCertificate(certs[0].Bytes)
	switch {
	case err != nil:
		err = fmt.Errorf("certificate: %w", err)
	case len(keys) == 0:
		err = errNoKey
	case len(keys) == 1 && isEncrypted(keys[0]):
		err = errEncrypted
	}
	return leaf, certs, keys, err
}

// blocks returns the certificates of the one file and the private keys of the other. Where both are the same
// it is decoded once: each plaintext connection of a process of its own waits for that.
func (t *pemText) blocks() (certs, keys []*pem.Block) {
	certs, keys = pemBlocks(t.cert)
	if t.files.key != t.files.cert {
		_, keys = pemBlocks(t.key)
	}
	return certs, keys
}

// isEncrypted: PKCS #8 says in the block's name that a key is encrypted (RFC 7468 section 11), the older
// forms in a header (RFC 1421 section 4.6.1.1).
func isEncrypted(key *pem.Block) bool {
	return key.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(key.Headers["Proc-Type"], "ENCRYPTED")
}

// pemBlocks returns the certificates and the private keys of a text.
func pemBlocks(text []byte) (certs, keys []*pem.Block) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "CERTIFICATE":
			certs = append(certs, block)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			keys = append(keys, block)
		}
	}
	return certs, keys
}

// pair puts the first certificate, its chain and the first key together. check has found them.
func (t *pemText) pair() (*tls.Certificate, error) {
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

// owner is the number of the certificate that the private key belongs to, beginning with 1; 0 = to none of
// them, -1 = the key cannot be read.
func (t *pemText) owner() int {
	certs, keys := t.blocks()
	key, err := parseKey(keys[0].Bytes)
	if err != nil {
		return -1
	}
	for n, block := range certs {
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
