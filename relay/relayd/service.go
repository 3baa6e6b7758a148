package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"mailproxy/internal/tlsconf"
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
	shared   *tlsconf.Shared
	gate     *gate

	encryptions encryptions
	adopted     []*session    // from the relayd before this one, until the loops run
	resume      chan struct{} // after a pause of accept
}

// counters are what metrics and stats show.
type counters struct {
	taken, ended, errors     atomic.Int64 // sessions
	refused, full, denied    atomic.Int64 // hand-overs
	fromClient, fromMailhost atomic.Int64 // bytes of ended sessions
	reported, malformed      atomic.Int64 // REPORT messages
	kept                     atomic.Int64 // connections that crypto/tls goes on with
	handshakes               handshakes
	logins                   logins
}

func newService(c *config, log *logger) (*service, error) {
	s := &service{conf: c, log: log, slots: make(chan struct{}, maxTalks), started: time.Now(), resume: make(chan struct{}),
		limits: limits{total: c.max, perIP: c.maxPerIP, perUser: c.maxPerUser, capacity: capacity()},
		shared: tlsconf.NewShared(), gate: newGate(maxHandshakes, maxHandshakesPerIP)}
	s.limits.logins = s.encryptions.now
	s.encryptions.limit = c.maxLogins
	if s.limits.capacity > 0 {
		s.encryptions.limit = min(c.maxLogins, s.limits.capacity/(2*loginCost))
	}
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
	if x.login { // it was no session yet
		return
	}
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
func (s *service) start(x *session) *loop {
	s.counters.taken.Add(1)
	l := s.loopFor()
	l.adopt(x)
	return l
}

// loopFor is the loop that gets the next session.
func (s *service) loopFor() *loop { return s.loops[int(s.next.Add(1))%len(s.loops)] }

// place holds a place for a session whose TLS the front end only lets go of when there is one. TAKE follows, or the front end goes. It
// reports whether the session is ours.
func (s *service) place(c syscall.Conn, m *wire.Message) (taken bool) {
	o, err := offerFrom(m, nil, 0)
	if err != nil {
		_ = answer(c, "FAIL", err.Error())
		return false
	}
	if !s.granted(c, o, m) {
		return false
	}
	err = answer(c, "OK", "")
	var fds []int
	if err == nil {
		m, fds, err = wire.Receive(c)
	}
	if err != nil || m.Verb != "TAKE" || m.Fields["USER"] != o.info.User || m.Fields["IP"] != o.info.RemoteIP {
		s.limits.give(o.info.RemoteIP, o.info.User)
		wire.CloseAll(fds)
		return false
	}
	return s.take(c, m, fds, true)
}

// take makes an offer a session of ours, unless a limit or something about it is against that; placed says that its place is held
// already. It reports whether the session is ours.
func (s *service) take(c syscall.Conn, m *wire.Message, fds []int, placed bool) (taken bool) {
	o, err := offerFrom(m, fds, 2)
	if err == nil && !s.encryptions.know(o.ids[:]...) {
		// There has been a restart between the handshakes of client and mailhost: one is here, one there. The front end joins them.
		err = errElsewhere
	}
	if err != nil {
		_ = answer(c, "FAIL", err.Error())
	}
	var es [2]*encryption
	var x *session
	if err == nil && (placed || s.granted(c, o, m)) {
		placed = true
		x = o.session(fds)
		es, err = s.begin(c, o, x, m, fds)
	}
	if err != nil || x == nil {
		if placed {
			s.limits.give(m.Fields["IP"], m.Fields["USER"])
		}
		wire.CloseAll(fds)
		return false
	}
	s.countSession(m, relay.LoginOK)
	l := s.start(x)
	for leg, e := range es {
		if e != nil && e.kept != nil {
			e.kept.behind(l, x, leg)
		}
	}
	return true
}

// granted counts the session unless a limit is against it: then the front end is told.
func (s *service) granted(c syscall.Conn, o *offer, m *wire.Message) bool {
	verdict, why := s.limits.take(o.info.RemoteIP, o.info.User)
	switch verdict {
	case refused:
		s.countSession(m, relay.LoginLimit)
		s.refused(o.info, why)
		_ = answer(c, "LIMIT", why)
	case full:
		s.counters.full.Add(1)
		_ = answer(c, "FULL", why)
	}
	return verdict == granted
}

func (s *service) refused(i relay.Info, why string) {
	s.counters.refused.Add(1)
	s.log.line(fmt.Sprintf("WARN: relayd: session refused, user=%s, ip=[%s], port=[%s]: %s", i.User, i.RemoteIP, i.RemotePort, why))
}

var errElsewhere = errors.New("another relayd encrypts one of the connections")

// begin acknowledges an offer and makes the session ready to run. The acknowledgement leaves before a connection is touched: when it
// can not be sent, the front end has not given the session away. The encryptions that the session was made of are returned.
func (s *service) begin(c syscall.Conn, o *offer, x *session, m *wire.Message, fds []int) (es [2]*encryption, err error) {
	first, plain, err := x.prepare(o, m, fds)
	if err != nil {
		s.log.line(fmt.Sprintf("ERR: relayd: %v", err))
		_ = answer(c, "FAIL", err.Error())
		return es, err
	}
	// Before the answer: after it the front end hangs up where it holds a connection, which then means nothing any more.
	for leg, id := range o.ids {
		es[leg] = s.encryptions.take(id)
	}
	if err := answer(c, "OK", ""); err != nil {
		s.encryptions.put(es[:]...)
		return es, err
	}
	for leg, id := range o.ids {
		if id == "" {
			continue
		}
		plain[leg], err = s.unite(x, leg, es[leg], fds[leg])
		o.tune(x.end[leg].FD)
		if err != nil {
			x.flow[leg].Stop(nil, err)
		}
	}
	// The client reads it as if the mailhost had said it, but it is not counted.
	x.flow[mailhost].Moved -= int64(len(first))
	plain[mailhost] = append(first, plain[mailhost]...)
	for leg := range plain {
		if err := x.prime(leg, plain[leg]); err != nil {
			x.flow[leg].Stop(nil, err)
		}
	}
	return es, nil
}

// prepare reads the rest of a TAKE message, and makes all descriptors ready. first is what the client is to be told.
func (x *session) prepare(o *offer, m *wire.Message, fds []int) (first []byte, plain [2][]byte, err error) {
	for leg, name := range []string{client: "CLIENT_TLS", mailhost: "MAILHOST_TLS"} {
		if _, twice := m.Fields[name]; twice && o.ids[leg] != "" {
			return nil, plain, errors.New("a connection is encrypted twice")
		}
	}
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
