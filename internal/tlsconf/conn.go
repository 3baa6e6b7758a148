package tlsconf

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"mailproxy/relay/record"
)

// ErrTruncated is what reading a Conn returns when the peer's stream ends without the close_notify alert, so that it
// may have been cut (RFC 8446 section 6.1). It is an io.ErrUnexpectedEOF to errors.Is.
var ErrTruncated = record.ErrTruncated

// Conn is a TLS connection after its handshake. Unlike tls.Conn it tells a stream that was cut between two records
// from one that was ended, CloseWrite ends the TCP stream, too, and the relay can carry it on without crypto/tls: it is a
// relay.Detacher. After Detach it can still be used, as long as nobody else carries it on: when relayd refuses the session
// because of a limit, the dialogue with the client goes on.
type Conn struct {
	*tls.Conn
	tap *record.Tap
	raw *rawConn
	own *record.Conn // carries it on since Detach; nil: crypto/tls does
}

// newConn puts a Tap under TLS, which cfg, for one connection, must tell its secrets.
func newConn(conn net.Conn, cfg *tls.Config, client bool) *Conn {
	c := &Conn{raw: &rawConn{Conn: conn}}
	c.tap = record.NewTap(c.raw, client)
	c.tap.Configure(cfg)
	if client {
		c.Conn = tls.Client(c.tap, cfg)
	} else {
		c.Conn = tls.Server(c.tap, cfg)
	}
	return c
}

// Handshake makes the handshake with a client on conn, at most until the deadline of ctx. Afterwards the configuration is
// forgotten as far as possible: Server serves one connection.
func (s *Server) Handshake(ctx context.Context, conn net.Conn) (*Conn, error) {
	c := newConn(conn, s.config, false)
	if err := handshake(ctx, c, conn); err != nil {
		return nil, err
	}
	// tls.Conn keeps the configuration for as long as it lives and reads nothing of this after the handshake.
	s.store.opts, s.store.def = Options{}, pemText{}
	s.config.ClientCAs = nil
	return c, nil
}

// Connect makes the handshake with a mailhost on conn, at most until the deadline of ctx.
func Connect(ctx context.Context, conn net.Conn, cfg *tls.Config) (*Conn, error) {
	c := newConn(conn, cfg, true)
	if err := handshake(ctx, c, conn); err != nil {
		return nil, err
	}
	cfg.RootCAs = nil // as above
	return c, nil
}

// handshake does without tls.Conn.HandshakeContext, which closes conn at the deadline: whoever has the connection may
// still want to know its peer.
func handshake(ctx context.Context, c *Conn, conn net.Conn) error {
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
	c.tap.Established(c.Conn)
	return conn.SetDeadline(time.Time{})
}

// Read is tls.Conn.Read, but ErrTruncated where the stream ends without close_notify.
func (c *Conn) Read(p []byte) (int, error) {
	if c.own != nil {
		return c.own.Read(p)
	}
	n, err := c.Conn.Read(p)
	if c.raw.ended.Load() && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		err = ErrTruncated
	}
	return n, err
}

// CloseWrite sends close_notify and ends the TCP stream in this direction. The other direction stays open
// (RFC 8446 section 6.1).
func (c *Conn) CloseWrite() error {
	if c.own != nil {
		return c.own.CloseWrite()
	}
	err := c.Conn.CloseWrite()
	if half, ok := c.raw.Conn.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	return err
}

// Write is tls.Conn.Write.
func (c *Conn) Write(p []byte) (int, error) {
	if c.own != nil {
		return c.own.Write(p)
	}
	return c.Conn.Write(p)
}

// Close is tls.Conn.Close. A connection that was detached and not used since is closed without a word to the peer: somebody
// else carries it on.
func (c *Conn) Close() error {
	if c.own != nil {
		return c.own.Close()
	}
	return c.Conn.Close()
}

// CanDetach is part of relay.Detacher.
func (c *Conn) CanDetach() error { return c.tap.CanDetach(c.Conn) }

// Detach is part of relay.Detacher.
func (c *Conn) Detach() (*record.Detached, error) {
	state, err := c.tap.Detach(c.Conn)
	if err == nil {
		c.own = &record.Conn{Conn: c.raw.Conn, State: state}
	}
	return state, err
}

// Below is part of relay.Detacher.
func (c *Conn) Below() any { return c.raw.Conn }

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
