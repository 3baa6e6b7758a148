package tlsconf

import (
	"context"
	"crypto/tls"
	"net"

	"mailproxy/internal/connection"
	"mailproxy/relay/tlsrecord"
)

// errTruncated is what reading a Conn returns when the peer's stream ends without the close_notify alert,
// so that it may have been cut (RFC 8446 section 6.1). It is an io.ErrUnexpectedEOF to errors.Is.
var errTruncated = tlsrecord.ErrTruncated

// Conn is a TLS connection after its handshake: a tlsrecord.Conn, which the relay can carry on without
// crypto/tls.
type Conn struct {
	*tlsrecord.Conn
	chosen *chosen // the certificate that a client was shown; nil = this is a client
}

// Handshake makes the handshake with a client on conn, at most until the deadline of ctx. Afterwards the
// configuration is forgotten as far as possible: Server serves one connection.
func (s *Server) Handshake(ctx context.Context, conn net.Conn) (*Conn, error) {
	c := &Conn{tlsrecord.Server(conn, s.config), s.chosen}
	if err := handshake(ctx, c, conn); err != nil {
		return nil, err
	}
	// tls.Conn keeps the configuration for as long as it lives and reads nothing of this after the handshake.
	*s.store = certStore{}
	s.config.ClientCAs = nil
	return c, nil
}

// Connect makes the handshake with a mailhost on conn, at most until the deadline of ctx.
func Connect(ctx context.Context, conn net.Conn, cfg *tls.Config) (*Conn, error) {
	c := &Conn{Conn: tlsrecord.Client(conn, cfg)}
	if err := handshake(ctx, c, conn); err != nil {
		return nil, err
	}
	cfg.RootCAs = nil // as above
	return c, nil
}

// handshake does not use tls.Conn.HandshakeContext, which closes conn at the deadline: callers need it open
// to log the peer's address.
func handshake(ctx context.Context, c *Conn, conn net.Conn) error {
	return connection.During(ctx, conn, c.Handshake)
}
