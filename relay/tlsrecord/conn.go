package tlsrecord

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
)

// Detacher is a TLS connection that can be carried on without crypto/tls; Conn is one.
type Detacher interface {
	net.Conn
	// CanDetach returns nil when Detach will succeed on a sound connection.
	CanDetach() error
	// Detach returns the state to go on with. Until Release the connection can still be used, and then the
	// state cannot.
	Detach() (*Detached, error)
	// Release closes the connection without a word to the peer: somebody else goes on with the state.
	Release() error
	// NetConn returns the connection below, which carries the records.
	NetConn() net.Conn
}

// Conn is a TLS connection of crypto/tls that can be carried on without it. Unlike tls.Conn it tells a
// stream that was cut between two records (ErrTruncated) from one that was ended, and CloseWrite ends the
// stream below, too.
type Conn struct {
	*tls.Conn
	tap   *tap
	below *belowConn

	mu       sync.Mutex
	detached bool
	unread   []byte // what Detach or Pending has decrypted, or Unread was given: the next Read returns it
	released bool
}

// Server returns a connection whose handshake with a client is yet to be made. It changes cfg, which must
// serve this one connection only.
func Server(conn net.Conn, cfg *tls.Config) *Conn {
	c := newConn(conn, cfg, false)
	c.Conn = tls.Server(c.tap, cfg)
	return c
}

// Client is Server for a connection that was made from here.
func Client(conn net.Conn, cfg *tls.Config) *Conn {
	c := newConn(conn, cfg, true)
	c.Conn = tls.Client(c.tap, cfg)
	return c
}

func newConn(conn net.Conn, cfg *tls.Config, client bool) *Conn {
	c := &Conn{below: &belowConn{Conn: conn}}
	c.tap = newTap(c.below, client)
	c.tap.configure(cfg)
	return c
}

// Handshake makes the handshake, which must be complete before anything is read or written.
func (c *Conn) Handshake() error { return c.HandshakeContext(context.Background()) }

// HandshakeContext is Handshake; the end of ctx interrupts it and closes the connection.
func (c *Conn) HandshakeContext(ctx context.Context) error {
	if err := c.Conn.HandshakeContext(ctx); err != nil {
		return err
	}
	c.tap.established(c.Conn)
	return nil
}

// Read is tls.Conn.Read, but ErrTruncated where the stream ends without close_notify.
func (c *Conn) Read(p []byte) (int, error) {
	if n := c.restore(p); n > 0 {
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if c.below.ended.Load() && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		err = ErrTruncated
	}
	return n, err
}

// Unread takes back the last bytes that Read has returned: the next one begins with them.
func (c *Conn) Unread(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.unread
	c.unread = slices.Concat(p, before)
	clear(before)
}

// Write is tls.Conn.Write.
func (c *Conn) Write(p []byte) (int, error) {
	c.restore(nil)
	return c.Conn.Write(p)
}

// restore undoes Detach and takes what it has decrypted into p.
func (c *Conn) restore(p []byte) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.detached && !c.released {
		c.tap.restore()
		c.detached = false
	}
	n = copy(p, c.unread)
	clear(c.unread[:n]) // there may be passwords
	c.unread = c.unread[n:]
	return n
}

// CloseWrite sends close_notify and ends the stream below in this direction. The other direction stays open
// (RFC 8446 section 6.1).
func (c *Conn) CloseWrite() error {
	c.restore(nil)
	err := c.Conn.CloseWrite()
	if half, ok := c.below.Conn.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	return err
}

// CanDetach is part of Detacher.
func (c *Conn) CanDetach() error { return c.tap.CanDetach(c.Conn) }

// Detach is part of Detacher.
func (c *Conn) Detach() (*Detached, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := c.detached
	d, err := c.tap.Detach(c.Conn)
	if err != nil {
		return nil, err
	}
	if !again {
		d.Plain = append(c.unread, d.Plain...)
		c.unread, c.detached = d.Plain, true
	}
	return d, nil
}

// Release is part of Detacher.
func (c *Conn) Release() error {
	c.mu.Lock()
	c.released = true
	c.mu.Unlock()
	return c.below.Conn.Close()
}

// NetConn returns the connection below, as it was given to Server or Client.
func (c *Conn) NetConn() net.Conn { return c.below.Conn }

// belowConn notes that the peer ended the stream below TLS.
type belowConn struct {
	net.Conn
	ended  atomic.Bool
	noWait bool // a Read returns what has come, or else errCut
}

// NetConn returns the connection below.
func (c *belowConn) NetConn() net.Conn { return c.Conn }

func (c *belowConn) Read(p []byte) (int, error) {
	if c.noWait && !c.waits() {
		return 0, errCut{}
	}
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		c.ended.Store(true)
	}
	return n, err
}
