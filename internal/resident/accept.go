package resident

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/accept"
	"mailproxy/internal/guard"
	"mailproxy/internal/launch"
	"mailproxy/internal/maillog"
)

// acceptor accepts the connections to the listening sockets. It can be stopped, so that connections wait in
// the kernel's queue, and started again.
type acceptor struct {
	log     *maillog.Log
	sockets *launch.Sockets
	// acquire says whether there is room for a connection; where there is none, the connection is its own.
	acquire func(l *launch.Listener, c launch.Conn) bool
	// serve serves a connection; conns counts those being served.
	serve func(l *launch.Listener, c launch.Conn)
	conns *connections
	// failed gets the error of a socket that cannot be used.
	failed chan error

	mu      sync.Mutex         // held while accepting starts or stops
	running *sync.WaitGroup    // since it was started last
	cancel  context.CancelFunc // nil: stopped
	closed  bool
}

func newAcceptor(log *maillog.Log, sockets *launch.Sockets, conns *connections) *acceptor {
	return &acceptor{log: log, sockets: sockets, conns: conns, failed: make(chan error, len(sockets.Listeners))}
}

// start begins to accept. After close, and while it is accepting, it does nothing.
func (a *acceptor) start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel, a.running = cancel, new(sync.WaitGroup)
	for _, l := range a.sockets.Listeners {
		setDeadline(l, time.Time{})
		a.running.Go(func() { a.accept(ctx, l) })
	}
}

// stop has connections wait in the kernel's queue. Whatever was accepted before is counted when it returns
// nil; with an error it may be that one more is accepted.
func (a *acceptor) stop() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cancel == nil {
		return nil
	}
	a.cancel()
	a.cancel = nil
	for _, l := range a.sockets.Listeners {
		setDeadline(l, time.Unix(1, 0))
	}
	return waitAtMost("accepting connections", restTime, a.running.Wait)
}

// close stops for good and closes the sockets.
func (a *acceptor) close() {
	_ = a.stop() // closing ends it as well
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.sockets.Close()
}

func setDeadline(l *launch.Listener, t time.Time) {
	if d, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		_ = d.SetDeadline(t)
	}
}

// accept serves the connections to one socket, each in a goroutine.
func (a *acceptor) accept(ctx context.Context, l *launch.Listener) {
	var failures accept.Failures
	for {
		conn, err := l.Accept()
		if err != nil {
			if !failures.Retry(ctx, err, func(err error) {
				a.log.Errf("accept at %s: %v; connections wait", l.Addr(), err)
			}) {
				if errors.Is(err, unix.EINVAL) {
					a.failed <- fmt.Errorf("%s: does not listen any more: %w", l.Addr(), err)
				}
				return
			}
			continue
		}
		c, ok := conn.(launch.Conn)
		if !ok {
			conn.Close()
			a.failed <- fmt.Errorf("%s: not a stream socket", l.Addr())
			return
		}
		if !a.acquire(l, c) {
			continue
		}
		a.conns.begin()
		guard.Go(a.log.Line, "a connection", func() {
			defer a.conns.end()
			a.serve(l, c)
		})
	}
}

// connections counts those that have not logged in.
type connections struct {
	mu      sync.Mutex
	changed *sync.Cond
	running int
	last    time.Time // when a connection or session ended last
}

func newConnections() *connections {
	c := &connections{last: time.Now()}
	c.changed = sync.NewCond(&c.mu)
	return c
}

func (c *connections) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running++
}

func (c *connections) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.last = time.Now()
	c.changed.Broadcast()
}

// touch says that something else has ended just now.
func (c *connections) touch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = time.Now()
}

// idle returns for how long there has been none; 0 while there is one.
func (c *connections) idle() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running > 0 {
		return 0
	}
	return time.Since(c.last)
}

// wait returns when there is none, or at the end of ctx.
func (c *connections) wait(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.running > 0 && ctx.Err() == nil {
		c.changed.Wait()
	}
}
