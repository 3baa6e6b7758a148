package main

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"mailproxy/internal/peercred"
	"mailproxy/relay"
	"mailproxy/relay/internal/wire"
)

// service is one relayd: its loops, its limits, and the socket that front ends come to.
type service struct {
	conf     *config
	log      *logger
	loops    []*loop
	limits   limits
	counters counters
	next     atomic.Uint32 // the loop that gets the next session
	talking  atomic.Int64  // conversations going on
	slots    chan struct{} // conversations at once
	started  time.Time
	adopted  []*session    // from the relayd before this one, until the loops run
	resume   chan struct{} // after a pause of accept

	complaints peercred.Complaints
}

// counters are what metrics and stats show.
type counters struct {
	taken, ended, errors     atomic.Int64 // sessions
	refused, full, denied    atomic.Int64 // hand-overs
	fromClient, fromMailhost atomic.Int64 // bytes of ended sessions
	reported, malformed      atomic.Int64 // REPORT messages
	logins                   logins
}

func newService(c *config, log *logger) (*service, error) {
	s := &service{conf: c, log: log, slots: make(chan struct{}, maxTalks), started: time.Now(), resume: make(chan struct{}),
		limits: limits{total: c.max, perIP: c.maxPerIP, perUser: c.maxPerUser, capacity: capacity()}}
	for range c.loops {
		l, err := newLoop(s.over)
		if err != nil {
			return nil, err
		}
		s.loops = append(s.loops, l)
	}
	return s, nil
}

// over accounts for a session that has ended; a loop calls it.
func (s *service) over(x *session, err error) {
	i, st := x.info(), x.stats(time.Now())
	s.limits.give(i.RemoteIP, i.User)
	s.counters.ended.Add(1)
	if err != nil {
		s.counters.errors.Add(1)
	}
	s.counters.fromClient.Add(st.FromClient)
	s.counters.fromMailhost.Add(st.FromMailhost)
	if i.Protocol != "" {
		s.log.line(relay.EndLine(i, st))
	}
}

// start gives a session to a loop.
func (s *service) start(x *session) {
	s.counters.taken.Add(1)
	s.loopFor().adopt(x)
}

// loopFor is the loop that gets the next session.
func (s *service) loopFor() *loop { return s.loops[int(s.next.Add(1))%len(s.loops)] }

// take makes an offer a session of ours, unless a limit or something about it is against that.
func (s *service) take(c syscall.Conn, m *wire.Message, fds []int) {
	if v := m.Fields["VERSION"]; v != wire.Version {
		wire.CloseAll(fds)
		_ = answer(c, "FAIL", fmt.Sprintf("version %q of the message is not known here", v))
		return
	}
	o, err := offerFrom(m, fds)
	if err != nil {
		wire.CloseAll(fds)
		_ = answer(c, "FAIL", err.Error())
		return
	}
	if !s.granted(c, o, m) {
		wire.CloseAll(fds)
		return
	}
	x, err := s.begin(c, o, m, fds)
	if err != nil {
		s.limits.give(o.info.RemoteIP, o.info.User)
		wire.CloseAll(fds)
		return
	}
	s.countSession(m, relay.LoginOK)
	s.start(x)
}

// granted counts the session unless a limit is against it: then the front end is told.
func (s *service) granted(c syscall.Conn, o *offer, m *wire.Message) bool {
	verdict, why := s.limits.take(o.info.RemoteIP, o.info.User)
	switch verdict {
	case refused:
		i := o.info
		s.countSession(m, relay.LoginLimit)
		s.counters.refused.Add(1)
		s.log.line(fmt.Sprintf("WARN: relayd: session refused, user=%s, ip=[%s], port=[%s]: %s", i.User, i.RemoteIP, i.RemotePort, why))
		_ = answer(c, "LIMIT", why)
	case full:
		s.counters.full.Add(1)
		_ = answer(c, "FULL", why)
	}
	return verdict == granted
}

// begin makes a session of an offer and acknowledges it. The acknowledgement leaves before a connection is touched: when it
// can not be sent, the front end has not given the session away.
func (s *service) begin(c syscall.Conn, o *offer, m *wire.Message, fds []int) (*session, error) {
	x := o.session(fds)
	first, plain, err := x.prepare(m, fds)
	if err != nil {
		s.log.line(fmt.Sprintf("ERR: relayd: %v", err))
		_ = answer(c, "FAIL", err.Error())
		return nil, err
	}
	if err := answer(c, "OK", ""); err != nil {
		return nil, err
	}
	// The client reads it as if the mailhost had said it, but it is not counted.
	x.flow[mailhost].Moved -= int64(len(first))
	plain[mailhost] = append(first, plain[mailhost]...)
	for leg := range plain {
		if err := x.prime(leg, plain[leg]); err != nil {
			x.flow[leg].Stop(nil, err)
		}
	}
	return x, nil
}

// prepare reads the rest of a TAKE message, and makes the descriptors ready. first is what the client is to be told.
func (x *session) prepare(m *wire.Message, fds []int) (first []byte, plain [2][]byte, err error) {
	first, body, err := cut(m.Body, m.Fields["FIRST"])
	if err != nil {
		return nil, plain, err
	}
	if err := neverWait(fds); err != nil {
		return nil, plain, err
	}
	plain, err = x.takeTLS(m.Fields, body)
	return first, plain, err
}

func answer(c syscall.Conn, verb, reason string) error {
	m := &wire.Message{Verb: verb}
	if reason != "" {
		m.Fields = map[string]string{"REASON": reason}
	}
	return wire.Send(c, m)
}
