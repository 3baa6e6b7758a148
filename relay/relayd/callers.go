package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"mailproxy/internal/accept"
	"mailproxy/internal/guard"
	"mailproxy/internal/loglimit"
	"mailproxy/relay/admin"
	"mailproxy/relay/handoff"
)

const (
	maxConversations = 512              // callers served at once; the others wait in the listen queue
	silence          = 60 * time.Second // for a caller that says nothing
)

// accept serves the callers of a listener until it is closed or ctx ends.
func (s *service) accept(ctx context.Context, l *net.UnixListener) error {
	var failures accept.Failures
	for s.conversations.acquire(ctx) {
		c, err := l.AcceptUnix()
		if err == nil {
			s.conversations.begin()
			guard.Go(s.log.Line, "a conversation", func() {
				defer s.conversations.end()
				defer c.Close()
				s.converse(ctx, c)
			})
			continue
		}
		<-s.conversations.slots
		switch {
		case failures.Retry(ctx, err, func(err error) { s.log.Warnf("relayd: accept: %v", err) }):
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.conversations.awaitResume(ctx)
		case errors.Is(err, net.ErrClosed), ctx.Err() != nil:
			return nil
		default:
			return fmt.Errorf("accept: %w", err)
		}
	}
	return nil
}

// converse serves one caller: a front end with a session, or with many one after the other; a report; a
// question.
func (s *service) converse(ctx context.Context, c *net.UnixConn) {
	if !s.allowed(c) {
		return
	}
	defer s.conversations.forget(c)
	for s.conversations.listenTo(c, silence) {
		m, fds, err := handoff.Receive(c)
		if err != nil || m.Verb != handoff.Carry {
			handoff.CloseAll(fds)
		}
		_ = c.SetWriteDeadline(time.Now().Add(silence))
		switch {
		case errors.Is(err, handoff.ErrFiles):
			s.counters.full.Add(1)
			_ = handoff.Answer(c, handoff.Full, err.Error())
		case err != nil:
			return
		case m.Verb == handoff.Carry:
			if s.carry(c, m, fds) != nil {
				return
			}
		case m.Verb == handoff.Report:
			s.report(c, m)
			return
		case admin.IsQuestion(m):
			handler := admin.Handler{Engine: s.engine, Stats: s.metrics}
			_ = handler.Answer(c, m)
			return
		default: // SESSION and TAKE are older versions' CARRY
			_ = handoff.Answer(c, handoff.Fail, "unknown request")
		}
	}
}

// allowed checks who calls.
func (s *service) allowed(c syscall.Conn) bool {
	err := s.conf.allow.Check(c)
	if err == nil {
		return true
	}
	s.counters.denied.Add(1)
	s.complaints.Count(10*time.Second, func(n int) {
		s.log.Errf("relayd: a caller may not use this socket, see -allow: %v%s", err, loglimit.More(n))
	})
	return false
}

// conversations are those that are going on. They can be paused: then nobody is listened to, so that
// nothing changes.
type conversations struct {
	slots chan struct{}

	mu      sync.Mutex
	waiting map[*net.UnixConn]struct{} // of which a message is awaited
	going   int
	paused  chan struct{} // closed when the pause is over; nil: no pause
	none    chan struct{} // closed when none is going on any more; nil: nobody waits for that
}

func (v *conversations) init(most int) {
	v.slots = make(chan struct{}, most)
	v.waiting = make(map[*net.UnixConn]struct{})
}

// acquire waits for room for one more; false: ctx has ended.
func (v *conversations) acquire(ctx context.Context) bool {
	select {
	case v.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// begin counts one for which there is room.
func (v *conversations) begin() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.going++
}

func (v *conversations) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.going--; v.going == 0 && v.none != nil {
		close(v.none)
		v.none = nil
	}
	<-v.slots
}

// listenTo allows the next message of a caller to be awaited; false: there is a pause.
func (v *conversations) listenTo(c *net.UnixConn, limit time.Duration) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.paused != nil {
		return false
	}
	v.waiting[c] = struct{}{}
	_ = c.SetReadDeadline(time.Now().Add(limit))
	return true
}

func (v *conversations) forget(c *net.UnixConn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.waiting, c)
}

// awaitResume waits until a pause is over.
func (v *conversations) awaitResume(ctx context.Context) {
	v.mu.Lock()
	paused := v.paused
	v.mu.Unlock()
	if paused == nil {
		return
	}
	select {
	case <-paused:
	case <-ctx.Done():
	}
}

// pause has new callers wait in the listen queue, hangs up on those who are silent, and waits for the
// answers to those who are not, at most for limit. Until resume is called nobody is listened to.
func (v *conversations) pause(ctx context.Context, l *net.UnixListener, limit time.Duration) (resume func()) {
	none := make(chan struct{})
	paused := make(chan struct{})
	v.mu.Lock()
	v.paused, v.none = paused, none
	_ = l.SetDeadline(time.Unix(1, 0))
	for c := range v.waiting {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
	if v.going == 0 {
		close(none)
		v.none = nil
	}
	v.mu.Unlock()
	select {
	case <-none:
	case <-ctx.Done():
	case <-time.After(limit):
	}
	return sync.OnceFunc(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.paused, v.none = nil, nil
		_ = l.SetDeadline(time.Time{})
		close(paused)
	})
}
