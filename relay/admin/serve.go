package admin

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"mailproxy/internal/accept"
	"mailproxy/internal/guard"
	"mailproxy/internal/loglimit"
	"mailproxy/internal/peercred"
	"mailproxy/relay/handoff"
)

const (
	maxCallers = 16               // at once; others wait in the listen queue
	callerTime = 10 * time.Second // for a caller to ask and to take the answer
	stopTime   = time.Second      // for an answer that is under way at the end
)

// Server answers questions on a socket that has no other use.
type Server struct {
	Handler Handler
	// Allow are those who may ask.
	Allow *peercred.Set
	// Log writes one line, without a line end.
	Log func(line string)

	complaints loglimit.Limit
}

// Serve answers until ctx ends; l stays open. One that is closed meanwhile is the end as well.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) {
	_ = l.SetDeadline(time.Time{})
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_ = l.SetDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-woken // else it may hit the next Serve
		}
	}()
	slots := make(chan struct{}, maxCallers)
	var running sync.WaitGroup
	defer running.Wait()
	var failures accept.Failures
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		c, err := l.AcceptUnix()
		if err == nil {
			running.Add(1)
			guard.Go(s.Log, "a question", func() {
				defer running.Done()
				defer func() { <-slots }()
				defer c.Close()
				s.converse(ctx, c)
			})
			continue
		}
		<-slots
		if !failures.Retry(ctx, err, func(err error) { s.complain("accept", err) }) {
			return
		}
	}
}

// converse answers one question. After the end of ctx a caller that asks nothing is not waited for, and one
// that does not take its answer not for long.
func (s *Server) converse(ctx context.Context, c *net.UnixConn) {
	if err := s.Allow.Check(c); err != nil {
		s.complain("a caller may not use this socket", err)
		return
	}
	_ = c.SetDeadline(time.Now().Add(callerTime))
	defer context.AfterFunc(ctx, func() {
		_ = c.SetReadDeadline(time.Unix(1, 0))
		_ = c.SetWriteDeadline(time.Now().Add(stopTime))
	})()
	m, fds, err := handoff.Receive(c)
	handoff.CloseAll(fds)
	switch {
	case err != nil:
	case IsQuestion(m):
		_ = s.Handler.Answer(c, m)
	default:
		_ = handoff.Answer(c, handoff.Fail, "unknown request")
	}
}

func (s *Server) complain(what string, err error) {
	s.complaints.Count(10*time.Second, func(n int) {
		s.Log(fmt.Sprintf("ERR: admin socket: %s: %v%s", what, err, loglimit.More(n)))
	})
}
