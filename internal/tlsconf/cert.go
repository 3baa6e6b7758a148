package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// What may be wrong with a file.
var (
	ErrNoCert    = errors.New("no CERTIFICATE in PEM form")
	ErrNoKey     = errors.New("no PRIVATE KEY in PEM form")
	ErrEncrypted = errors.New("the private key is protected by a pass phrase")
)

// Check tells whether a handshake with these settings finds a certificate: the file for this address or
// the default one can be read and begins with a certificate that parses, and it (or TLS_PRIVATE_KEYFILE)
// holds a private key without a pass phrase. That the key belongs to the certificate is found out in the
// handshake: this is made for every plaintext connection, to know whether STARTTLS can be offered, and
// parsing an RSA key takes longer than all the rest of it. The error names the setting or the file.
func Check(o Options) error {
	_, err := o.defaultText()
	return err
}

// defaultText finds and checks the files for a client that names no server we have.
func (o *Options) defaultText() (pemText, error) {
	files, err := o.defaultFiles()
	if err != nil {
		return pemText{}, err
	}
	text, err := files.read()
	if err != nil {
		return text, err
	}
	if err := text.check(); err != nil {
		return text, fmt.Errorf("%s: %w", files, err)
	}
	return text, nil
}

// check looks for a certificate that parses and for a private key that can be used.
func (t *pemText) check() error {
	leaf := pemBlock(t.cert, func(kind string) bool { return kind == "CERTIFICATE" })
	if leaf == nil {
		return ErrNoCert
	}
	if _, err := x509.ParseCertificate(leaf.Bytes); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	// PKCS #8 says in the block's name that a key is encrypted (RFC 7468 section 11), the older forms in a
	// header (RFC 1421 section 4.6.1.1).
	key := pemBlock(t.key, func(kind string) bool { return strings.HasSuffix(kind, "PRIVATE KEY") })
	switch {
	case key == nil:
		return ErrNoKey
	case key.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(key.Headers["Proc-Type"], "ENCRYPTED"):
		return ErrEncrypted
	}
	return nil
}

// pemBlock returns the first PEM block of a wanted kind.
func pemBlock(text []byte, wanted func(kind string) bool) *pem.Block {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if wanted(block.Type) {
			return block
		}
	}
	return nil
}

// certStore finds the certificate for a ClientHello, reading as late as possible: one handshake, one key.
type certStore struct {
	opts Options
	def  pemText
}

func (s *certStore) loadDefault() (err error) {
	s.def, err = s.opts.defaultText()
	return err
}

// get is tls.Config.GetCertificate. A file for the server name that is there but can not be used is
// reported, and the default serves.
func (s *certStore) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if own, ok := s.opts.filesForName(hello.ServerName); ok {
		text, err := own.read()
		if err == nil {
			var cert *tls.Certificate
			if cert, err = s.load(text); err == nil {
				return cert, nil
			}
		}
		s.opts.warn("no TLS certificate for %q: %v", hello.ServerName, err)
	}
	return s.load(s.def)
}

func (s *certStore) load(text pemText) (*tls.Certificate, error) {
	if text.open != "" {
		s.opts.warn("%s holds a private key and can be read by everybody", text.open)
	}
	if err := text.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", text.files, err)
	}
	pair, err := tls.X509KeyPair(text.cert, text.key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text.files, err)
	}
	if now := s.opts.now(); now.After(pair.Leaf.NotAfter) {
		s.opts.warn("%s: the certificate expired on %s", text.files.cert, pair.Leaf.NotAfter.Format("2006-01-02 15:04:05 MST"))
	}
	return &pair, nil
}
