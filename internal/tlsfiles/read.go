package tlsfiles

import (
	"bytes"
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

// check tells whether a handshake will find a certificate and a key, by where they begin and end. What is between is left
// to the handshake: to decode it, for every connection, would cost more than all the rest of the check.
func (t *Text) check() error {
	if _, found := pemBlock(t.Cert, func(kind string) bool { return kind == "CERTIFICATE" }); !found {
		return fmt.Errorf("%s: %w", t.Files, ErrNoCert)
	}
	key, found := pemBlock(t.Key, func(kind string) bool { return strings.HasSuffix(kind, "PRIVATE KEY") })
	switch {
	case !found:
		return fmt.Errorf("%s: %w", t.Files, ErrNoKey)
	// PKCS #8 says it in the block's name (RFC 7468 section 11), the older forms in a header (RFC 1421 section 4.6.1.1).
	case bytes.HasPrefix(key, []byte(pemBegin+"ENCRYPTED ")) || bytes.Contains(key, []byte("\nProc-Type: 4,ENCRYPTED")):
		return fmt.Errorf("%s: %w", t.Files, ErrEncrypted)
	}
	return nil
}

// What stands around a PEM block (RFC 7468 section 2), each at the beginning of a line.
const (
	pemBegin = "-----BEGIN "
	pemEnd   = "-----END "
	pemDash  = "-----"
)

// pemBlock returns the first PEM block of a wanted kind, from its beginning to the name in its end.
func pemBlock(text []byte, wanted func(kind string) bool) (block []byte, found bool) {
	for len(text) > 0 {
		i := bytes.Index(text, []byte(pemBegin))
		if i < 0 {
			return nil, false
		}
		atLine := i == 0 || text[i-1] == '\n'
		text = text[i:]
		line, _, _ := bytes.Cut(text[len(pemBegin):], []byte("\n"))
		kind, whole := bytes.CutSuffix(bytes.TrimRight(line, " \t\r"), []byte(pemDash))
		if atLine && whole && wanted(string(kind)) {
			if end := bytes.Index(text, []byte("\n"+pemEnd+string(kind)+pemDash)); end >= 0 {
				return text[:end], true
			}
		}
		text = text[len(pemBegin):]
	}
	return nil, false
}
