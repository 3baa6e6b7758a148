package tlsconf

import (
	"crypto/tls"
	"fmt"

	"mailproxy/internal/tlsfiles"
)

// Check tells, without parsing a key, whether a handshake with these settings finds a certificate: the file for this
// address or the default one can be read, begins with a certificate that parses, and holds (or TLS_PRIVATE_KEYFILE does) a
// private key of it. tlsfiles.Check is cheaper and sees less.
func Check(o Options) error {
	_, err := o.defaultPair()
	return err
}

// defaultPair finds and checks the files for a client that names no server we have.
func (o *Options) defaultPair() (tlsfiles.Text, error) {
	files, err := o.files().Default()
	if err != nil {
		return tlsfiles.Text{}, err
	}
	text, err := files.Read()
	if err != nil {
		return text, err
	}
	if err := checkPair(text.Cert, text.Key); err != nil {
		return text, fmt.Errorf("%s: %w", files, err)
	}
	return text, nil
}

// certStore finds the certificate for a ClientHello, reading as late as possible: one handshake, one key.
type certStore struct {
	opts Options
	def  tlsfiles.Text
}

func (s *certStore) loadDefault() (err error) {
	s.def, err = s.opts.defaultPair()
	return err
}

// get is tls.Config.GetCertificate. A file for the server name that is there but can not be used is reported, and the
// default serves.
func (s *certStore) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if own, ok := s.opts.files().ForName(hello.ServerName); ok {
		text, err := own.Read()
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

func (s *certStore) load(text tlsfiles.Text) (*tls.Certificate, error) {
	if text.Open != "" {
		s.opts.warn("%s holds a private key and can be read by everybody", text.Open)
	}
	pair, leaf, err := parsePair(text.Cert, text.Key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text.Files, err)
	}
	if now := s.opts.now(); now.After(leaf.NotAfter) {
		s.opts.warn("%s: the certificate expired on %s", text.Files.Cert, leaf.NotAfter.Format("2006-01-02 15:04:05 MST"))
	}
	return pair, nil
}

// Pair makes a certificate of the PEM texts of a chain and of its private key, which may be one and the same.
func Pair(certPEM, keyPEM []byte) (*tls.Certificate, error) {
	pair, _, err := parsePair(certPEM, keyPEM)
	return pair, err
}
