package resident

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"mailproxy/internal/accept"
	"mailproxy/internal/guard"
	"mailproxy/internal/launch"
	"mailproxy/internal/successor"
)

// newAcceptor is what accepts the connections to the listening sockets and has them served until the end of
// ctx. While it stands still, connections wait in the kernel's queue, and whatever was accepted before is
// counted in s.conns.
func (s *service) newAcceptor(ctx context.Context) *successor.Part {
	return &successor.Part{Name: "accepting connections", Run: func(accepting context.Context) {
		var running sync.WaitGroup
		for _, l := range s.sockets.Listeners {
			running.Go(func() {
				err := accept.Serve(accepting, l.Listener, nil, func(err error) {
					s.log.Errf("accept at %s: %v; connections wait", l.Addr(), err)
				}, func(c net.Conn) { s.serve(ctx, l, c.(launch.Conn)) })
				if err == nil {
					return
				}
				select {
				case s.failed <- fmt.Errorf("%s: does not listen any more: %w", l.Addr(), err):
				default: // another socket has failed as well
				}
			})
		}
		running.Wait()
	}}
}

// serve serves a connection in a goroutine, unless there is no room for it.
func (s *service) serve(ctx context.Context, l *launch.Listener, c launch.Conn) {
	s.statistics.connections.Add(1)
	if !s.conns.begin() {
		s.statistics.turnedAway.Add(1)
		s.refuser.refuse(c, l.TLS || s.server.Config.Encrypted)
		return
	}
	guard.Go(s.log.Line, "a connection", func() {
		defer s.conns.end()
		server := s.server
		if l.TLS {
			server = s.overTLS
		}
		server.ServeConn(ctx, c, launch.NewPeer(nil, c))
	})
}

// connections counts those that have not logged in, and bounds them (MAXUNAUTH).
type connections struct {
	max     int
	mu      sync.Mutex
	changed *sync.Cond
	running int
	last    time.Time // when a connection or session ended last
}

func newConnections(max int) *connections {
	c := &connections{max: max, last: time.Now()}
	c.changed = sync.NewCond(&c.mu)
	return c
}

// begin counts one more, unless there are as many as there may be.
func (c *connections) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running >= c.max {
		return false
	}
	c.running++
	return true
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running
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
