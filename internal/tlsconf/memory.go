package tlsconf

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"sync"
)

// Memory keeps certificates in a process that serves many connections. Files are still read for each
// handshake, so that a new certificate needs no restart, but they are parsed only when they have changed.
// While what they hold cannot be used - a renewed certificate whose key has not come yet, a file half written
// or gone - the last good pair goes on being served, and Options.Err hears of it once.
//
// The zero Memory is empty and ready; it may be used by many goroutines at once.
type Memory struct {
	mu    sync.Mutex
	pairs map[files]*remembered
}

// remembered is what is known of a pair of files.
type remembered struct {
	good       *tls.Certificate // nil: none was good yet
	of, bad    []byte           // digests of the contents that are good, and of those that are not
	err        *CertificateError
	hasExpired bool // and that has been said
}

// def is the certificate for clients that name no server we have.
func (m *Memory) def(o *Options) (*tls.Certificate, error) {
	f, err := o.defaultFiles()
	if err != nil {
		return nil, &CertificateError{Err: err}
	}
	return m.load(f, o)
}

// load returns the certificate of the files, or the last good one. The error is a CertificateError.
func (m *Memory) load(f files, o *Options) (*tls.Certificate, error) {
	text, readErr := f.read()
	digest := sha256.New()
	for _, part := range [][]byte{text.cert, text.key} {
		sum := sha256.Sum256(part)
		digest.Write(sum[:])
	}
	content := digest.Sum(nil)

	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pairs == nil {
		m.pairs = map[files]*remembered{}
	}
	r := m.pairs[f]
	if r == nil {
		r = &remembered{}
		m.pairs[f] = r
	}
	switch {
	case readErr != nil:
		return r.failed(o, f, content, &CertificateError{Err: readErr})
	case r.good != nil && bytes.Equal(content, r.of):
		r.bad, r.err = nil, nil
		if !r.hasExpired {
			r.hasExpired = o.warnExpired(f, r.good)
		}
		return r.good, nil
	case r.err != nil && bytes.Equal(content, r.bad):
		return r.failed(o, f, content, r.err)
	}
	good, err := o.parse(text)
	var bad *CertificateError
	if errors.As(err, &bad) {
		return r.failed(o, f, content, bad)
	}
	*r = remembered{good: good, of: content, hasExpired: o.now().After(good.Leaf.NotAfter)}
	return good, nil
}

// failed remembers what is wrong, and falls back on the last good certificate.
func (r *remembered) failed(
	o *Options, f files, content []byte, err *CertificateError,
) (*tls.Certificate, error) {
	again := r.err != nil && r.err.Error() == err.Error()
	r.bad, r.err = content, &CertificateError{Err: err.Err, Again: again}
	if r.good == nil {
		return nil, r.err
	}
	if !again {
		o.err("%v; the last good certificate of %s, good until %s, is still served",
			err, f.cert, day(r.good.Leaf.NotAfter))
	}
	return r.good, nil
}
