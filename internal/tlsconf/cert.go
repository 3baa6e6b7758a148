package tlsconf

import (
	"crypto/tls"
	"errors"
	"time"
)

// Check tells whether a handshake with these settings finds a certificate: a file for this address or a
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
	o.Warn = nil
	return (&certStore{opts: o}).loadDefault()
}

// CertificateError says that a handshake failed because the files of the certificate, or what else a process
// of many connections has read, cannot be used, which is the installation's fault and nobody else's.
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
	def  []candidate
	bad  []problem // of the default's files
}

// loadDefault finds out whether there is a certificate to begin a handshake with.
func (s *certStore) loadDefault() (err error) {
	if s.opts.Memory != nil {
		s.def, err = s.opts.Memory.def(&s.opts)
		return err
	}
	list, err := s.opts.defaultFiles()
	if err != nil {
		return err
	}
	if s.def, s.bad = list.read(&s.opts); len(s.def) == 0 {
		return oneError(s.bad)
	}
	return nil
}

// get is tls.Config.GetCertificate. A file for the server name that is there but cannot be used is reported,
// and the default serves.
func (s *certStore) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	own, bad := s.named(hello.ServerName)
	cert, of, some := choose(hello, own)
	bad = append(bad, some...)
	switch {
	case cert != nil:
		s.tell(bad)
	case len(bad) > 0:
		s.opts.warn("no TLS certificate for %q: %v", hello.ServerName, oneError(bad))
		fallthrough
	default:
		if cert, of, some = choose(hello, s.def); cert == nil {
			return nil, &CertificateError{Err: oneError(some)}
		}
		s.tell(append(s.bad, some...))
	}
	if s.opts.Memory == nil {
		s.opts.warnExpired(of)
	}
	return cert, nil
}

// named returns the certificates for the server that a client names.
func (s *certStore) named(server string) (found []candidate, bad []problem) {
	if s.opts.Memory == nil {
		return s.opts.filesForName(server).read(&s.opts)
	}
	found, err := s.opts.Memory.named(&s.opts, server)
	var known *CertificateError
	if errors.As(err, &known) && !known.Again {
		s.opts.warn("no TLS certificate for %q: %v", server, err)
	}
	return found, nil
}

// tell logs certificates that cannot be used while another one serves.
func (s *certStore) tell(bad []problem) {
	for _, p := range bad {
		s.opts.err("%v; the other certificate serves", p)
	}
}

// warnExpired says whether a certificate has expired.
func (o *Options) warnExpired(c candidate) {
	if o.now().After(c.leaf.NotAfter) {
		o.warn("%s: the certificate expired on %s", c.files.cert, day(c.leaf.NotAfter))
	}
}

// day is a time as it stands in messages.
func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }
