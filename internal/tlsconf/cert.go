package tlsconf

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// What may be wrong with a file.
var (
	ErrNoCert    = errors.New("no CERTIFICATE in PEM form")
	ErrNoKey     = errors.New("no PRIVATE KEY in PEM form")
	ErrEncrypted = errors.New("the private key is protected by a pass phrase")
	ErrMismatch  = errors.New("the private key does not belong to the certificate")
)

// Check tells whether a handshake with these settings finds a certificate: the file for this address or the
// default one can be read and begins with a certificate that parses, and it (or TLS_PRIVATE_KEYFILE) holds a
// private key without a pass phrase. That the key belongs to the certificate is found out in the handshake:
// this is made for every plaintext connection, to know whether STARTTLS can be offered, and parsing an RSA
// key takes longer than all the rest of it. The error names the setting or the file.
//
// With Options.Memory what was good before is good enough, and the key has been looked at.
func Check(o Options) error {
	if o.Memory != nil {
		_, err := o.Memory.def(&o)
		return err
	}
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
	leaf := pemBlock(t.cert, isCertificate)
	if leaf == nil {
		return ErrNoCert
	}
	if _, err := x509.ParseCertificate(leaf.Bytes); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	// PKCS #8 says in the block's name that a key is encrypted (RFC 7468 section 11), the older forms in a
	// header (RFC 1421 section 4.6.1.1).
	key := pemBlock(t.key, isKey)
	switch {
	case key == nil:
		return ErrNoKey
	case key.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(key.Headers["Proc-Type"], "ENCRYPTED"):
		return ErrEncrypted
	}
	return nil
}

func isCertificate(kind string) bool { return kind == "CERTIFICATE" }

func isKey(kind string) bool { return strings.HasSuffix(kind, "PRIVATE KEY") }

// pemBlock returns the first PEM block of a wanted kind.
func pemBlock(text []byte, wanted func(kind string) bool) *pem.Block {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if wanted(block.Type) {
			return block
		}
	}
	return nil
}

// CertificateError says that a handshake failed because the files of the certificate cannot be used, which is
// the installation's fault and nobody else's.
type CertificateError struct {
	Err error
	// Again: the process has said the same before, see Memory.
	Again bool
}

// Error names the files.
func (e *CertificateError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *CertificateError) Unwrap() error { return e.Err }

// certStore finds the certificate for a ClientHello, reading as late as possible: one handshake, one key.
type certStore struct {
	opts Options
	def  pemText
}

// loadDefault finds out whether there is a certificate to begin a handshake with.
func (s *certStore) loadDefault() (err error) {
	if s.opts.Memory != nil {
		_, err = s.opts.Memory.def(&s.opts)
		return err
	}
	s.def, err = s.opts.defaultText()
	return err
}

// get is tls.Config.GetCertificate. A file for the server name that is there but cannot be used is reported,
// and the default serves.
func (s *certStore) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if own, ok := s.opts.filesForName(hello.ServerName); ok {
		cert, err := s.opts.load(own)
		if err == nil {
			return cert, nil
		}
		var known *CertificateError
		if !errors.As(err, &known) || !known.Again {
			s.opts.warn("no TLS certificate for %q: %v", hello.ServerName, err)
		}
	}
	if s.opts.Memory != nil {
		return s.opts.Memory.def(&s.opts)
	}
	return s.opts.parse(s.def)
}

// load reads a pair of files, by way of the memory where there is one.
func (o *Options) load(f files) (*tls.Certificate, error) {
	if o.Memory != nil {
		return o.Memory.load(f, o)
	}
	text, err := f.read()
	if err != nil {
		return nil, &CertificateError{Err: err}
	}
	return o.parse(text)
}

// parse makes a certificate of what was read. The error is a CertificateError.
func (o *Options) parse(text pemText) (*tls.Certificate, error) {
	if text.open != "" {
		o.warn("%s holds a private key and can be read by everybody", text.open)
	}
	pair, err := text.pair()
	if err != nil {
		return nil, &CertificateError{Err: fmt.Errorf("%s: %w", text.files, err)}
	}
	o.warnExpired(text.files, pair)
	return pair, nil
}

// warnExpired says whether a certificate has expired.
func (o *Options) warnExpired(f files, pair *tls.Certificate) (expired bool) {
	if expired = o.now().After(pair.Leaf.NotAfter); expired {
		o.warn("%s: the certificate expired on %s", f.cert, day(pair.Leaf.NotAfter))
	}
	return expired
}

// pair puts certificate and key together.
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
			ErrMismatch, n)
	} else if n == 0 {
		return nil, ErrMismatch
	}
	return nil, err
}

// owner is the number of the certificate that the private key belongs to, beginning with 1; 0 = of none, -1 =
// the key is none.
func (t *pemText) owner() int {
	block := pemBlock(t.key, isKey)
	key, err := parseKey(block.Bytes)
	if err != nil {
		return -1
	}
	n := 0
	for block, rest := pem.Decode(t.cert); block != nil; block, rest = pem.Decode(rest) {
		if !isCertificate(block.Type) {
			continue
		}
		n++
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
		if ok && public.Equal(cert.PublicKey) {
			return n
		}
	}
	return 0
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

// day is a time as it stands in messages.
func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }
