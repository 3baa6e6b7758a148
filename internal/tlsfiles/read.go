package tlsfiles

import (
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const (
	// MaxCert bounds a file with certificate and key; a chain of RSA-8192 certificates is a tenth of it.
	MaxCert = 256 << 10
	// MaxTrust bounds one file of trusted certificates. Debian's bundle of all public authorities is 0.2 MiB.
	MaxTrust = 4 << 20
)

// What may be wrong with a file.
var (
	ErrNoCert    = errors.New("no CERTIFICATE in PEM form")
	ErrNoKey     = errors.New("no PRIVATE KEY in PEM form")
	ErrEncrypted = errors.New("the private key is protected by a pass phrase")
)

// Blocks returns the certificates of certPEM and the first private key of keyPEM in DER, with its PEM type.
func Blocks(certPEM, keyPEM []byte) (chain [][]byte, key []byte, keyType string, err error) {
	for block, rest := pem.Decode(certPEM); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			chain = append(chain, block.Bytes)
		}
	}
	if len(chain) == 0 {
		return nil, nil, "", ErrNoCert
	}
	for block, rest := pem.Decode(keyPEM); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, nil, "", ErrEncrypted
		}
		return chain, block.Bytes, block.Type, nil
	}
	return nil, nil, "", ErrNoKey
}

func (t *Text) check() error {
	if _, _, _, err := Blocks(t.Cert, t.Key); err != nil {
		return fmt.Errorf("%s: %w", t.Files, err)
	}
	return nil
}
