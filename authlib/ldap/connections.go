package ldap

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// sharing is how many searches are under way on one connection at once: as many as authdaemond has requests
// for each of its connections. That they need not wait for each other saves a quarter of the daemon's CPU
// time, see docs/performance.md.
const sharing = 8

// connections are at most so many, each for a number of requests at once.
type connections struct {
	dial  func(context.Context) (*conn, error)
	slots []slot
	// free has each slot as often as one more request may use it.
	free chan slot
}

// slot is where one of the connections is kept: the latest attempt to connect, taken out while another is
// made.
type slot chan attempt

// attempt is the result of connecting.
type attempt struct {
	conn *conn // nil when there is none
	err  error // why not, nil when nobody has tried
	at   time.Time
}

// newConnections returns at most size connections made by dial, each for so many requests at once.
func newConnections(size, each int, dial func(context.Context) (*conn, error)) *connections {
	size = max(size, 1)
	p := &connections{dial: dial, slots: make([]slot, size), free: make(chan slot, size*each)}
	for i := range p.slots {
		p.slots[i] = make(slot, 1)
		p.slots[i] <- attempt{}
	}
	for i := range cap(p.free) {
		p.free <- p.slots[i%size]
	}
	return p
}

// Close closes the connections. It must come after the last request.
func (p *connections) Close() {
	for _, s := range p.slots {
		if a := <-s; a.conn != nil {
			a.conn.close()
		}
	}
}

// do calls use with a connection. When that is lost and had been made before, the server has probably been
// restarted: use is called once more, with a fresh one.
func (p *connections) do(ctx context.Context, use func(*conn) error) error {
	began := time.Now()
	var s slot
	select {
	case s = <-p.free:
		defer func() { p.free <- s }()
	case <-ctx.Done():
		return fmt.Errorf("no connection of %d free in time: %w", len(p.slots), ctx.Err())
	}
	for {
		a := s.connect(ctx, began, p.dial)
		if a.err != nil {
			return a.err
		}
		err := use(a.conn)
		var lost *lostError
		if !errors.As(err, &lost) {
			return err
		}
		a.conn.close()
		if lost.late || a.at.After(began) {
			return err
		}
	}
}

// connect returns the slot's connection, or makes one. Of requests that wait while it cannot be made all get
// the same error: a server that does not answer costs them its time limit once.
func (s slot) connect(
	ctx context.Context,
	began time.Time,
	dial func(context.Context) (*conn, error),
) attempt {
	var a attempt
	select {
	case a = <-s:
		defer func() { s <- a }()
	case <-ctx.Done():
		return attempt{err: fmt.Errorf("no connection in time: %w", ctx.Err())}
	}
	if a.conn != nil && !a.conn.ldap.IsClosing() || a.err != nil && a.at.After(began) {
		return a
	}
	c, err := dial(ctx)
	a = attempt{c, err, time.Now()}
	if ctx.Err() != nil {
		a.at = time.Time{} // that this request's time is over says nothing about the server
	}
	return a
}
