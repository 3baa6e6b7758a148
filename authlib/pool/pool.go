// Package pool keeps connections to a database server: at most so many, the one used last first, and a request that
// meets a dead one gets a fresh one.
package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// Conn is a connection as its database package made it.
type Conn interface {
	// Close ends the connection. It may be called while another goroutine uses it, and must then make that use fail.
	Close()
}

// deadError marks an error after which the connection must not be used again.
type deadError struct {
	err   error
	final bool // the use cannot be repeated
}

// Error is one line: what the drivers and errors.Join spread over several is joined by semicolons.
func (e *deadError) Error() string {
	return strings.Join(strings.FieldsFunc(e.err.Error(), func(r rune) bool { return r == '\n' || r == '\t' }), "; ")
}
func (e *deadError) Unwrap() error { return e.err }

// Dead marks err as one after which the connection is of no more use, though the request may be repeated with another.
func Dead(err error) error {
	if err == nil {
		return nil
	}
	return &deadError{err: err}
}

// Final marks err as one after which neither the connection nor a repetition is of any use: half the answer has been
// passed on.
func Final(err error) error { return &deadError{err: err, final: true} }

// isDead tells what err was marked as.
func isDead(err error) (dead, again bool) {
	var d *deadError
	if errors.As(err, &d) {
		return true, !d.final
	}
	return false, false
}

// Marked tells errors that [Dead] or [Final] made.
func Marked(err error) bool {
	dead, _ := isDead(err)
	return dead
}

// Pool is a bounded set of connections.
type Pool[C interface {
	comparable
	Conn
}] struct {
	dial  func(ctx context.Context) (C, error)
	slots chan struct{} // one element a request that holds a connection

	mu              sync.Mutex
	idle            []C
	busy            map[C]struct{}
	retired, closed bool
}

// New returns a pool of at most size connections made by dial.
func New[C interface {
	comparable
	Conn
}](size int, dial func(ctx context.Context) (C, error)) *Pool[C] {
	return &Pool[C]{dial: dial, slots: make(chan struct{}, max(size, 1)), busy: make(map[C]struct{})}
}

// Do calls use with a connection. When use returns an error marked by [Dead] for a connection that has been used
// before, the server has probably been restarted: all idle connections are closed and use is called once more with a
// fresh one; so use must be repeatable. The wait for a free connection ends with ctx. use and dial bound themselves.
func (p *Pool[C]) Do(ctx context.Context, use func(C) error) error {
	select {
	case p.slots <- struct{}{}:
	default:
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("all %d connections are busy: %w", cap(p.slots), ctx.Err())
		}
	}
	defer func() { <-p.slots }()

	c, reused, err := p.get(ctx)
	if err == nil {
		err = p.use(c, use)
		if _, again := isDead(err); again && reused && ctx.Err() == nil {
			p.dropIdle()
			if c, err = p.fresh(ctx); err == nil {
				err = p.use(c, use)
			}
		}
	}
	return err
}

// Len returns the number of open connections.
func (p *Pool[C]) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle) + len(p.busy)
}

// Retire closes the connections that nobody uses; the others are closed when their request is done.
func (p *Pool[C]) Retire() {
	p.mu.Lock()
	p.retired = true
	p.mu.Unlock()
	p.dropIdle()
}

// Close closes all connections. Requests under way fail.
func (p *Pool[C]) Close() {
	p.Retire()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for c := range p.busy {
		c.Close()
	}
}

func (p *Pool[C]) get(ctx context.Context) (c C, reused bool, err error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c = p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.busy[c] = struct{}{}
		p.mu.Unlock()
		return c, true, nil
	}
	p.mu.Unlock()
	c, err = p.fresh(ctx)
	return c, false, err
}

func (p *Pool[C]) fresh(ctx context.Context) (C, error) {
	c, err := p.dial(ctx)
	if err != nil {
		return c, Dead(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
		var none C
		return none, os.ErrClosed
	}
	p.busy[c] = struct{}{}
	return c, nil
}

func (p *Pool[C]) use(c C, use func(C) error) error {
	err := use(c)
	p.mu.Lock()
	delete(p.busy, c)
	dead, _ := isDead(err)
	keep := !p.retired && !dead
	if keep {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		c.Close()
	}
	return err
}

func (p *Pool[C]) dropIdle() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
}

// Deadline returns when an operation that may take limit has to end, but no later than ctx.
func Deadline(ctx context.Context, limit time.Duration) time.Time {
	t := time.Now().Add(limit)
	if d, ok := ctx.Deadline(); ok && d.Before(t) {
		return d
	}
	return t
}
