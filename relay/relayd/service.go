package main

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"mailproxy/internal/limits"
	"mailproxy/internal/loglimit"
	"mailproxy/internal/maillog"
	"mailproxy/internal/successor"
	"mailproxy/relay"
	"mailproxy/relay/counters"
	"mailproxy/relay/engine"
	"mailproxy/relay/handoff"
)

// service is one relayd: the engine, and the socket that front ends come to.
type service struct {
	conf          *config
	log           *maillog.Log
	engine        *engine.Engine
	counters      numbers
	conversations conversations
	reserve       successor.Reserve
	started       time.Time
	complaints    loglimit.Limit // about callers who may not use the socket
	takenOver     *int           // sessions; nil: there was no relayd before this one
}

// numbers are what metrics and stats show.
type numbers struct {
	counters.Sessions
	refused, full, denied atomic.Int64 // hand-overs
	reported, malformed   atomic.Int64 // REPORT messages
	restartFailed         atomic.Bool  // the last one
	logins                *counters.Logins
}

func newService(c *config, log *maillog.Log) (*service, error) {
	s := &service{conf: c, log: log, started: time.Now()}
	s.counters.logins = counters.NewLogins()
	s.conversations.init(maxConversations)
	s.reserve.Fill()
	var err error
	_, capacity := limits.Capacity(0)
	s.engine, err = engine.New(engine.Config{Loops: c.loops, Log: s.log.Line, Ended: s.ended,
		Limits: engine.Limits{Sessions: c.max, PerAddress: c.maxPerIP, PerUser: c.maxPerUser,
			Capacity: capacity}})
	return s, err
}

// ended accounts for a session that has ended.
func (s *service) ended(_ relay.Info, st relay.Stats, err error) {
	s.counters.Ended(st, err)
}

// carry serves a CARRY message. The error is that of answering.
func (s *service) carry(c *net.UnixConn, m *handoff.Message, fds []int) error {
	info, err := s.engine.TakeMessage(c, m, fds)
	switch {
	case err == nil:
		s.counters.Taken.Add(1)
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
