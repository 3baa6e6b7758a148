package tlsrecord

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
)

// ErrTruncated ends a TLS stream that stopped without close_notify (RFC 8446 section 6.1): it may have been
// cut.
var ErrTruncated = fmt.Errorf("TLS stream cut off: %w", io.ErrUnexpectedEOF)

// Errors of Split and Open.
var (
	ErrRecord = errors.New("bad TLS record") // the peer broke the protocol: AlertFor tells which alert it gets
	ErrAlert  = errors.New("TLS alert")      // the peer sent a fatal one
)

// Alerts that a record can deserve (RFC 8446 section 6.2).
const (
	tlsUnexpectedMessage tls.AlertError = 10
	tlsBadRecordMAC      tls.AlertError = 20
	tlsRecordOverflow    tls.AlertError = 22
	tlsDecodeError       tls.AlertError = 50
	tlsInternalError     tls.AlertError = 80
)

// recordError is an ErrRecord with the alert that answers it.
type recordError struct {
	alert  tls.AlertError
	reason string
}

func (e *recordError) Error() string        { return ErrRecord.Error() + ": " + e.reason }
func (e *recordError) Is(target error) bool { return target == ErrRecord }

func bad(alert tls.AlertError, format string, args ...any) error {
	return &recordError{alert, fmt.Sprintf(format, args...)}
}

// AlertFor returns the fatal alert for the peer of the connection that err, from Split or Open, has ended;
// internal_error for any other error, with which the other connection of a session is ended.
func AlertFor(err error) tls.AlertError {
	var r *recordError
	if errors.As(err, &r) {
		return r.alert
	}
	return tlsInternalError
}

// alert handles an alert of the peer's.
func (c *Codec) alert(p []byte) (data []byte, ended bool, err error) {
	switch {
	case len(p) != 2:
		return nil, false, bad(tlsDecodeError, "alert of %d bytes", len(p))
	case p[1] == 0: // close_notify
		return nil, true, nil
	case p[1] == 90, c.version == tls.VersionTLS12 && p[0] == 1: // user_canceled, warnings
		return nil, false, nil
	}
	return nil, false, fmt.Errorf("%w: %w", ErrAlert, tls.AlertError(p[1]))
}

// handshake handles messages after the handshake: a client ignores session tickets, key updates are followed.
func (c *Codec) handshake(p []byte) error {
	if c.version == tls.VersionTLS12 {
		if len(p) == 4 && p[0] == 0 { // HelloRequest: may be ignored (RFC 5246 section 7.4.1.1)
			return nil
		}
		return bad(tlsUnexpectedMessage, "renegotiation")
	}
	for len(p) > 0 {
		if c.skip > 0 {
			n := min(int(c.skip), len(p))
			c.skip -= uint32(n)
			p = p[n:]
			continue
		}
		if len(p) < 4 {
			return bad(tlsDecodeError, "handshake message cut")
		}
		kind, n := p[0], uint32(p[1])<<16|uint32(p[2])<<8|uint32(p[3])
		p = p[4:]
		switch {
		case kind == 4 && c.client: // NewSessionTicket, which only servers send (RFC 8446 section 4.6.1)
			c.skip = n
		case kind == 24 && n == 1 && len(p) == 1 && p[0] <= 1: // KeyUpdate is the last of its record (section 5.1)
			c.asked = c.asked || p[0] == 1
			return c.next(&c.in)
		default:
			return bad(tlsUnexpectedMessage, "handshake message %d", kind)
		}
	}
	return nil
}
