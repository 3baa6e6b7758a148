package resident

import (
	"context"
	"errors"
	"sync"
	"time"

	"mailproxy/relay"
	"mailproxy/relay/engine"
	"mailproxy/relay/handoff"
)

// carrier is the engine of this process; and once another process has taken this one's place, that process,
// and the engine for what that one does not take. While the sessions are being handed over a new one waits:
// it would be neither here nor there.
type carrier struct {
	engine *engine.Engine

	gate sync.RWMutex // locked while the sessions are being handed over
	next *handoff.Peer
}

// Carry is part of relay.Carrier.
func (c *carrier) Carry(ctx context.Context, s *relay.Session) error {
	c.gate.RLock()
	defer c.gate.RUnlock()
	if c.next != nil {
		if err := c.next.Carry(ctx, s); err == nil || errors.Is(err, relay.ErrLimit) {
			return err
		}
	}
	return c.engine.Carry(ctx, s)
}

// handOver calls f, which hands the sessions over; with its success new ones go to next.
func (c *carrier) handOver(next *handoff.Peer, f func() error) error {
	if err := c.lock(restTime); err != nil {
		return err
	}
	defer c.gate.Unlock()
	err := f()
	if err == nil {
		c.next = next
	}
	return err
}

// lock has new sessions wait. After an error they do not.
func (c *carrier) lock(limit time.Duration) error {
	locked := make(chan struct{})
	err := atRest("taking a session", limit, func() { c.gate.Lock(); close(locked) })
	if err != nil {
		go func() { <-locked; c.gate.Unlock() }()
	}
	return err
}
