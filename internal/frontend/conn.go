package frontend

import (
	"context"
	"sync"
	"time"

	"mailproxy/internal/launch"
	"mailproxy/internal/line"
	"mailproxy/internal/login"
)

// Conn is one client's connection, from its first byte until a Carrier has its session. It belongs to the
// goroutine that serves it.
type Conn struct {
	// Session is the client's login.
	*login.Session
	// Client is the connection itself. STARTTLS replaces it.
	Client launch.Conn
	// In reads the client's commands, from the greeting on. It goes on after STARTTLS.
	In *line.Reader

	server *Server

	mu          sync.Mutex // of Client while the end of the context may interrupt it, and of the two below
	interrupted bool       // it has ended
	released    bool       // the login is over
	carried     bool       // a Carrier has the session

	sent int64 // bytes of replies

	tlsAtBalancer bool // the PROXY header says that the balancer has decrypted the connection

	startTLS startTLSState // what OffersStartTLS found out
}

// newConn makes a Conn of a connection that has just come in.
func (s *Server) newConn(conn launch.Conn, peer launch.Peer) *Conn {
	session := s.Login.NewSession(peer, conn.LocalAddr(), s.Options.Log)
	c := &Conn{Session: session, Client: conn, server: s}
	session.Gone, session.Bindings = c.hungUp, c.bindings
	return c
}

// begin sets the connection's deadlines and has it interrupted when ctx ends, as the program is told to stop.
// The function it returns undoes the latter.
func (c *Conn) begin(ctx context.Context) (end func()) {
	_ = c.Client.SetDeadline(c.Deadline())
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.interrupted = true
		if !c.released {
			_ = c.Client.SetReadDeadline(past())
		}
	})
	return func() { stop() }
}

// encrypted replaces the connection after a handshake. Deadlines and the interrupt apply to the new one.
func (c *Conn) encrypted(conn launch.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Client, c.TLS = conn, true
	c.setDeadlines()
}

// setDeadlines applies the time limit for the login, and an interrupt that has come. c.mu is locked.
func (c *Conn) setDeadlines() {
	_ = c.Client.SetDeadline(c.Deadline())
	if c.interrupted {
		_ = c.Client.SetReadDeadline(past())
	}
}

// release takes the limits of the time before the login off the connection and the log: a Carrier is about to
// have it.
func (c *Conn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.released = true
	c.Log = c.Log.Always()
	_ = c.Client.SetDeadline(time.Time{})
}

// retain undoes release when no Carrier has taken the session.
func (c *Conn) retain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.released = false
	c.setDeadlines()
}
