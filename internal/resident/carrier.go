package resident

import (
	"context"
	"errors"
	"sync"

	"mailproxy/internal/successor"
	"mailproxy/relay"
	"mailproxy/relay/engine"
	"mailproxy/relay/handoff"
)

// carrier is the engine of this process; and once another process has taken this one's place, that process,
// and the engine for what that one does not take. While the sessions are being handed over a new one waits:
// it would be neither here nor there.
type carrier struct {
	engine *engine.Engine

	mu     sync.Mutex
	open   *sync.Cond // told when one of these two changes
	closed bool       // the sessions are being handed over
	taking int        // sessions that are being taken
	next   *handoff.Peer
}

func newCarrier(e *engine.Engine) *carrier {
	c := &carrier{engine: e}
	c.open = sync.NewCond(&c.mu)
	return c
}

// Carry is part of relay.Carrier.
func (c *carrier) Carry(ctx context.Context, s *relay.Session) error {
	next := c.acquire()
	defer c.release()
	if next != nil {
		if err := next.Carry(ctx, s); err == nil || errors.Is(err, relay.ErrLimit) {
			return err
		}
	}
	return c.engine.Carry(ctx, s)
}

// acquire waits while the sessions are being handed over, and returns where new ones go.
func (c *carrier) acquire() *handoff.Peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.closed {
		c.open.Wait()
	}
	c.taking++
	return c.next
}

func (c *carrier) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taking--
	c.open.Broadcast()
}

// close has new sessions wait, and waits for those that are being taken. After an error nobody waits.
func (c *carrier) close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	err := successor.WaitAtMost("taking a session", func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for c.closed && c.taking > 0 {
			c.open.Wait()
		}
	})
	if err != nil {
		c.reopen(nil)
	}
	return err
}

// reopen has new sessions go on, to next, if it is not nil.
func (c *carrier) reopen(next *handoff.Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = false
	if next != nil {
		c.next = next
	}
	c.open.Broadcast()
}
