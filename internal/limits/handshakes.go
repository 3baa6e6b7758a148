package limits

import (
	"context"
	"net"
	"syscall"
)

// Handshakes bounds how many TLS handshakes are computed at a time. More than there are processors would slow
// all of them down, also those of logins that are nearly done. A handshake holds a slot while it computes,
// not while it waits for its client: a client that says nothing, or reads nothing, takes none; nor does one
// that sends a few bytes at a time.
type Handshakes struct{ slots chan struct{} }

// NewHandshakes returns a Handshakes for at most n at a time.
func NewHandshakes(n int) *Handshakes { return &Handshakes{make(chan struct{}, max(n, 1))} }

// Limit returns the connection that a handshake is to be made on, in one goroutine, and the function that
// ends its being limited: to be called after the handshake, from when on it is the same as conn. The end of
// ctx ends the wait for a slot.
func (h *Handshakes) Limit(ctx context.Context, conn Socket) (limited Socket, end func()) {
	c := &limitedConn{Socket: conn, ctx: ctx, slots: h.slots}
	return c, c.end
}

// Socket is a client's connection.
type Socket interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// limitedConn is a connection during and after a handshake.
type limitedConn struct {
	Socket
	ctx   context.Context
	slots chan struct{} // nil when the handshake is over
	holds bool          // it has one of them
}

// Read waits for the client without a slot, and comes back with one.
func (c *limitedConn) Read(p []byte) (int, error) { return c.wait(p, c.Socket.Read) }

// Write is likewise.
func (c *limitedConn) Write(p []byte) (int, error) { return c.wait(p, c.Socket.Write) }

func (c *limitedConn) wait(p []byte, move func([]byte) (int, error)) (int, error) {
	if c.slots == nil {
		return move(p)
	}
	c.release()
	n, err := move(p)
	if err != nil {
		return n, err
	}
	select {
	case c.slots <- struct{}{}:
		c.holds = true
		return n, nil
	case <-c.ctx.Done():
		return n, context.Cause(c.ctx)
	}
}

func (c *limitedConn) release() {
	if c.holds {
		<-c.slots
		c.holds = false
	}
}

func (c *limitedConn) end() {
	c.release()
	c.slots, c.ctx = nil, nil
}
