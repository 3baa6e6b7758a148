package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"mailproxy/internal/peercred"
	"mailproxy/relay"
	"mailproxy/relay/engine"
	"mailproxy/relay/handoff"
)

// service is one relayd: the engine, and the socket that front ends come to.
type service struct {
	conf          *config
	log           *logger
	engine        *engine.Engine
	counters      counters
	conversations conversations
	reserve       reserve
	started       time.Time
	complaints    peercred.Complaints // about callers who may not use the socket
}

// counters are what metrics and stats show.
type counters struct {
	taken, ended, errors     atomic.Int64 // sessions
	refused, full, denied    atomic.Int64 // hand-overs
	fromClient, fromMailhost atomic.Int64 // bytes of ended sessions
	reported, malformed      atomic.Int64 // REPORT messages
	logins                   *loginStats
}

func newService(c *config, log *logger) (*service, error) {
	s := &service{conf: c, log: log, started: time.Now()}
	s.counters.logins = newLoginStats()
	s.conversations.init(maxConversations)
	s.reserve.fill()
	var err error
	s.engine, err = engine.New(engine.Config{Loops: c.loops, Log: s.log.line, Ended: s.ended,
		Limits: engine.Limits{Sessions: c.max, PerAddress: c.maxPerIP, PerUser: c.maxPerUser,
			Capacity: capacity()}})
	return s, err
}

// ended accounts for a session that has ended.
func (s *service) ended(_ relay.Info, st relay.Stats, err error) {
	s.counters.ended.Add(1)
	if err != nil {
		s.counters.errors.Add(1)
	}
	s.counters.fromClient.Add(st.FromClient)
	s.counters.fromMailhost.Add(st.FromMailhost)
}

// carry serves a CARRY message. The acknowledgement leaves before a connection is touched: when it cannot
// be sent, the front end has not given the session away. The error is that of answering.
func (s *service) carry(c *net.UnixConn, m *handoff.Message, fds []int) error {
	h, err := handoff.ParseSession(m)
	if err == nil && len(fds) != 2 {
		err = fmt.Errorf("%d descriptors instead of 2", len(fds))
	}
	if err != nil {
		handoff.CloseAll(fds)
		return answer(c, "FAIL", err.Error())
	}
	err = s.engine.Take(h, [2]int{fds[0], fds[1]}, func() error { return answer(c, "OK", "") })
	if err == nil {
		s.counters.taken.Add(1)
		s.countSession(m, relay.LoginOK)
		return nil
	}
	handoff.CloseAll(fds)
	switch {
	case errors.Is(err, relay.ErrLimit):
		why := strings.TrimPrefix(err.Error(), relay.ErrLimit.Error()+": ")
		s.countSession(m, relay.LoginLimit)
		s.counters.refused.Add(1)
		s.log.line(fmt.Sprintf("WARN: relayd: session refused, user=%s, ip=[%s], port=[%s]: %s",
			h.Info.User, h.Info.RemoteIP, h.Info.RemotePort, why))
		return answer(c, "LIMIT", why)
	case errors.Is(err, relay.ErrUnavailable):
		s.counters.full.Add(1)
		return answer(c, "FULL", err.Error())
	}
	return err
}

func answer(c *net.UnixConn, verb, reason string) error {
	m := &handoff.Message{Verb: verb}
	if reason != "" {
		m.Fields = map[string]string{"REASON": strings.Map(oneLine, reason)}
	}
	return handoff.Send(c, m)
}

func oneLine(r rune) rune {
	if r == '\n' || r == 0 {
		return ' '
	}
	return r
}
