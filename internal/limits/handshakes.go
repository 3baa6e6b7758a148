package limits

import (
	"context"
	"net"
	"syscall"
)

// Handshakes bounds how many TLS handshakes are computed at a time. More at once than there are processors
// make none faster, and all slower, those of logins that are nearly done included. A handshake has a place
// while it computes, not while it waits for its client: a client that says nothing, or reads nothing, takes
// none; nor does one that sends a few bytes at a time.
type Handshakes struct{ places chan struct{} }

// NewHandshakes returns a Handshakes for at most n at a time.
func NewHandshakes(n int) *Handshakes { return &Handshakes{make(chan struct{}, max(n, 1))} }

// Limit returns the connection that a handshake is to be made on, in one goroutine, and the function that
// ends its being limited: to be called after the handshake, from when on it is the same as conn. The end of
// ctx ends the wait for a place.
func (h *Handshakes) Limit(ctx context.Context, conn Socket) (limited *Computing, end func()) {
	c := &Computing{Socket: conn, ctx: ctx, places: h.places}
	return c, c.end
}

// Socket is a client's connection.
type Socket interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// Computing is a connection during and after a handshake.
type Computing struct {
	Socket
	ctx    context.Context
	places chan struct{} // nil when the handshake is over
	has    bool          // it has a place
}

// Read waits for the client without a place, and comes back with one.
func (c *Computing) Read(p []byte) (int, error) { return c.wait(p, c.Socket.Read) }

// Write is likewise.
func (c *Computing) Write(p []byte) (int, error) { return c.wait(p, c.Socket.Write) }

func (c *Computing) wait(p []byte, move func([]byte) (int, error)) (int, error) {
	if c.places == nil {
		return move(p)
	}
	c.leave()
	n, err := move(p)
	if err != nil {
		return n, err
	}
	select {
	case c.places <- struct{}{}:
		c.has = true
		return n, nil
	case <-c.ctx.Done():
		return n, context.Cause(c.ctx)
	}
}

func (c *Computing) leave() {
	if c.has {
		<-c.places
		c.has = false
	}
}

func (c *Computing) end() {
	c.leave()
	c.places, c.ctx = nil, nil
}
