package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"mailproxy/internal/loglimit"
	"mailproxy/internal/successor"
	"mailproxy/relay"
	"mailproxy/relay/admin"
	"mailproxy/relay/handoff"
)

const (
	maxConversations = 512              // callers served at once; the others wait in the listen queue
	silence          = 60 * time.Second // for a caller that says nothing
	refusalsEvery    = 10 * time.Second // for the log to tell of callers that are refused
)

// newCallers is what serves callers: front ends with a session, or with many one after the other; reports;
// questions.
func (s *service) newCallers() *successor.Part {
	server := &handoff.Server{
		Allow: s.conf.allow, Denied: s.denied, Most: maxConversations, Silence: silence, Handle: s.handle,
		NotAccepted: func(err error) { s.log.Warnf("relayd: accept: %v", err) }, Log: s.log.Line,
	}
	return &successor.Part{Name: "a conversation", Run: func(ctx context.Context) {
		if err := server.Serve(ctx, s.sockets.socket); err != nil {
			s.failed <- fmt.Errorf("accept: %w", err)
		}
	}}
}

// handle is a handoff.Handler. SESSION and TAKE, older versions' CARRY, are unknown requests.
func (s *service) handle(c *net.UnixConn, m *handoff.Message, fds []int) (more bool) {
	switch m.Verb {
	case handoff.Carry:
		return s.carry(c, m, fds) == nil
	case handoff.Report:
		handoff.CloseAll(fds)
		s.report(c, m)
		return false
	}
	questions := admin.Handler{Engine: s.engine, Stats: s.metrics}
	return questions.Handle(c, m, fds)
}

// denied tells of a caller who may not use the socket.
func (s *service) denied(err error) {
	s.counters.denied.Add(1)
	s.complaints.Count(refusalsEvery, func(n int) {
		s.log.Errf("relayd: a caller may not use this socket, see -allow: %v%s", err, loglimit.More(n))
	})
}

// carry serves a CARRY message. The error is that of answering.
func (s *service) carry(c *net.UnixConn, m *handoff.Message, fds []int) error {
	info, err := s.engine.TakeMessage(c, m, fds)
	switch {
	case err == nil:
		s.countSession(m, relay.LoginOK)
		return nil
	case errors.Is(err, relay.ErrLimit):
		s.countSession(m, relay.LoginLimit)
		s.counters.refused.Add(1)
		s.log.Warnf("relayd: session refused, user=%s, ip=[%s], port=[%s]: %s",
			info.User, info.RemoteIP, info.RemotePort, handoff.Reason(err))
	case errors.Is(err, relay.ErrUnavailable):
		s.counters.full.Add(1)
	}
	return handoff.Refuse(c, err)
}
