package frontend

import (
	"context"
	"sync"
	"time"

	"mailproxy/internal/launch"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/maillog"
	"mailproxy/internal/throttle"
)

// Conn is one client's connection, from its first byte until a Carrier has its session. It belongs to the
// goroutine that serves it.
type Conn struct {
	*Server
	// Client is the connection itself. STARTTLS replaces it.
	Client launch.Conn
	// TLS says that it is encrypted, by us or by somebody in front of us.
	TLS bool
	// Peer is who is at its other end.
	Peer launch.Peer
	// Log is the server's, with a limit until the client has logged in.
	Log *maillog.Log
	// Started is when it came in; the login limit counts from it.
	Started time.Time

	ctx         context.Context // ends when the program is told to stop
	mu          sync.Mutex      // of Client while the end of ctx may interrupt it, and of the two below
	interrupted bool            // ctx has ended
	released    bool            // the login is over
	carried     bool            // a Carrier has the session

	tlsAtBalancer bool // the PROXY header says that the balancer has decrypted the connection

	throttleFile *throttle.Table // opened when first needed
	noThrottle   bool            // it cannot be used, which is logged
	leave        func() error    // undoes enter; nil when there is nothing to undo

	startTLS startTLSState // what OffersStartTLS found out
	tally    tally         // of the login under way, for relayd's counters
	commands int           // that the client has said
	hops     mailhost.Hops // proxies that the session has come through
}

// newConn makes a Conn of a connection that has just come in.
func (s *Server) newConn(ctx context.Context, conn launch.Conn, peer launch.Peer) *Conn {
	c := &Conn{Server: s, Client: conn, Peer: peer, Started: s.System.Now(), ctx: ctx}
	c.limitLog(s.Options.Log)
	return c
}

// begin sets the connection's deadlines and has it interrupted when ctx ends. The function it returns undoes
// the latter.
func (c *Conn) begin() (end func()) {
	launch.NoDelay(c.Client)
	_ = c.Client.SetDeadline(c.loginEnd())
	stop := context.AfterFunc(c.ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.interrupted = true
		if !c.released {
			_ = c.Client.SetReadDeadline(past())
		}
	})
	return func() { stop() }
}

// loginEnd is when the client must have logged in.
func (c *Conn) loginEnd() time.Time { return c.Started.Add(c.Config.LoginTimeout) }

// encrypted replaces the connection after a handshake. Deadlines and the interrupt apply to the new one.
func (c *Conn) encrypted(conn launch.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Client, c.TLS = conn, true
	c.setDeadlines()
}

// setDeadlines applies the time limit for the login, and an interrupt that has come. c.mu is locked.
func (c *Conn) setDeadlines() {
	_ = c.Client.SetDeadline(c.loginEnd())
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

// LimitHops takes the number of proxies that may still come from one in front of us, see mailhost.Hops.
func (c *Conn) LimitHops(text string) { c.hops.Limit(text) }
