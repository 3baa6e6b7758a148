package tlsconf

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// ErrTruncated is what reading a Conn returns when the peer's stream ends without the close_notify alert, so that it
// may have been cut (RFC 8446 section 6.1). It is an io.ErrUnexpectedEOF to errors.Is.
var ErrTruncated = fmt.Errorf("TLS stream cut off: %w", io.ErrUnexpectedEOF)

// truncated is ErrTruncated with the name of who cut the stream.
type truncated struct{ who string }

func (e *truncated) Error() string { return e.who + ": " + ErrTruncated.Error() }
func (e *truncated) Unwrap() error { return ErrTruncated }

// TruncatedBy returns "client" or "mailhost" for an error that is ErrTruncated, else "".
func TruncatedBy(err error) string {
	if e, ok := errors.AsType[*truncated](err); ok {
		return e.who
	}
	return ""
}

// Conn is a TLS connection after its handshake. Unlike tls.Conn it tells a stream that was cut between two records
// from one that was ended, and CloseWrite ends the TCP stream, too.
type Conn struct {
	*tls.Conn
	raw *rawConn
	who string // who sits at the other end, for errors
}

// Server makes the handshake with a client on conn, at most until the deadline of ctx. Afterwards the configuration is
// forgotten as far as possible: Server serves one connection.
func (s *Server) Handshake(ctx context.Context, conn net.Conn) (*Conn, error) {
	raw := &rawConn{Conn: conn}
	c := &Conn{Conn: tls.Server(raw, s.config), raw: raw, who: "client"}
	if err := handshake(ctx, c.Conn, conn); err != nil {
		return nil, err
	}
	// tls.Conn keeps the configuration for as long as it lives and reads nothing of this after the handshake.
	s.store.opts = Options{}
	s.config.ClientCAs = nil
	return c, nil
}

// Connect makes the handshake with a mailhost on conn, at most until the deadline of ctx.
func Connect(ctx context.Context, conn net.Conn, cfg *tls.Config) (*Conn, error) {
	raw := &rawConn{Conn: conn}
	c := &Conn{Conn: tls.Client(raw, cfg), raw: raw, who: "mailhost"}
	if err := handshake(ctx, c.Conn, conn); err != nil {
		return nil, err
	}
	cfg.RootCAs = nil // as above
	return c, nil
}

// handshake does without tls.Conn.HandshakeContext, which closes conn at the deadline: whoever has the connection may
// still want to know its peer.
func handshake(ctx context.Context, c *tls.Conn, conn net.Conn) error {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	err := c.Handshake()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// Read is tls.Conn.Read, but an error around ErrTruncated where the stream ends without close_notify.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.raw.ended.Load() && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		err = &truncated{c.who}
	}
	return n, err
}

// CloseWrite sends close_notify and ends the TCP stream in this direction. The other direction stays open
// (RFC 8446 section 6.1).
func (c *Conn) CloseWrite() error {
	err := c.Conn.CloseWrite()
	if half, ok := c.raw.Conn.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	return err
}

// NetConn returns the connection below, as it was given to Handshake or Connect.
func (c *Conn) NetConn() net.Conn { return c.raw.Conn }

// rawConn notes that the peer ended the stream below TLS.
type rawConn struct {
	net.Conn
	ended atomic.Bool
}

func (c *rawConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		c.ended.Store(true)
	}
	return n, err
}
