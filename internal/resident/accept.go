package resident

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"mailproxy/internal/guard"
	"mailproxy/internal/launch"
)

// serve accepts connections until ctx ends, or until a socket fails for good.
func (s *service) serve(ctx context.Context) error {
	failed := make(chan error, len(s.sockets.Listeners))
	for _, l := range s.sockets.Listeners {
		go func() { failed <- s.accept(ctx, l) }()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// The pauses after accept(2) has failed for want of descriptors or memory. Connections wait in the kernel's
// queue meanwhile.
const (
	shortestPause = 5 * time.Millisecond
	longestPause  = time.Second
)

// accept serves the connections to one socket, each in a goroutine.
func (s *service) accept(ctx context.Context, l *launch.Listener) error {
	server := s.server
	if l.TLS {
		server = s.overTLS
	}
	pause := shortestPause
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = shortestPause
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		default:
			s.log.Errf("accept at %s: %v", l.Addr(), err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil
			}
			pause = min(2*pause, longestPause)
			continue
		}
		c, ok := conn.(launch.Conn)
		if !ok {
			conn.Close()
			return fmt.Errorf("%s: not a stream socket", l.Addr())
		}
		if !s.entrance.enter() {
			s.entrance.turnAway(c, l.TLS)
			continue
		}
		s.conns.begin()
		guard.Go(s.log.Line, "a connection", func() {
			defer s.conns.end()
			defer s.entrance.leave()
			server.ServeConn(ctx, c, launch.NewPeer(nil, c))
		})
	}
}

// connections counts those that have not logged in.
type connections struct{ running sync.WaitGroup }

func (c *connections) begin() { c.running.Add(1) }
func (c *connections) end()   { c.running.Done() }

// wait waits until there are none, at most for d.
func (c *connections) wait(d time.Duration) {
	none := make(chan struct{})
	go func() {
		c.running.Wait()
		close(none)
	}()
	select {
	case <-none:
	case <-time.After(d):
	}
}
