package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
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

const (
	maxTalks    = 512              // front ends in conversation at once; the others wait in the listen queue
	talkTimeout = 60 * time.Second // a front end that says nothing
)

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

// accept serves one listener until it is closed.
func (s *service) accept(ctx context.Context, l *net.UnixListener) error {
	for {
		s.slots <- struct{}{}
		c, err := l.AcceptUnix()
		if err != nil {
			<-s.slots
			if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				select {
				case <-s.resume:
				case <-ctx.Done():
				}
				continue
			}
			s.log.line(fmt.Sprintf("WARN: relayd: accept: %v", err)) // no descriptors: one may be free soon
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.talking.Add(1)
		go func() {
			defer c.Close()
			release := sync.OnceFunc(func() { <-s.slots; s.talking.Add(-1) })
			defer release()
			s.talk(ctx, c, release)
		}()
	}
}

// talk serves one caller: a front end with a session, or an administrator with a question. release is called early by a
// conversation that lasts.
func (s *service) talk(ctx context.Context, c *net.UnixConn, release func()) {
	uid, err := wire.PeerUID(c)
	if err != nil || !slices.Contains(s.conf.allow, uid) {
		s.counters.denied.Add(1)
		s.log.line(fmt.Sprintf("WARN: relayd: user %d may not use this socket", uid))
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now().Add(time.Second)) })
	defer stop()
	_ = c.SetDeadline(time.Now().Add(talkTimeout))
	m, fds, err := wire.Receive(c)
	if err != nil || m.Verb != "SESSION" && m.Verb != "ENCRYPT" {
		wire.CloseAll(fds)
	}
	switch {
	case errors.Is(err, wire.ErrFiles):
		s.counters.full.Add(1)
		_ = answer(c, "FULL", err.Error())
	case err != nil:
		return
	case m.Verb == "SESSION":
		s.take(c, m, fds)
	case m.Verb == "ENCRYPT":
		s.encrypt(ctx, c, m, fds, release)
	case m.Verb == "REPORT":
		s.report(c, m)
	case m.Verb == "WHO", m.Verb == "KICK", m.Verb == "STATS":
		s.admin(c, m)
	default:
		_ = answer(c, "FAIL", "unknown request")
	}
}

// take makes an offer a session of ours, unless a limit or something about it is against that. It reports whether the session is ours.
func (s *service) take(c *net.UnixConn, m *wire.Message, fds []int) (taken bool) {
	o, err := offerFrom(m, fds, 2)
	if err == nil && !s.encryptions.know(o.ids[:]...) {
		// There has been a restart between the handshakes of client and mailhost: one is here, one there. The front end joins them.
		err = errElsewhere
	}
	if err != nil {
		wire.CloseAll(fds)
		_ = answer(c, "FAIL", err.Error())
		return false
	}
	switch verdict, why := s.limits.take(o.info.RemoteIP, o.info.User); verdict {
	case refused:
		s.countSession(m, relay.LoginLimit)
		s.refused(o.info, why)
		wire.CloseAll(fds)
		_ = answer(c, "LIMIT", why)
		return false
	case full:
		s.counters.full.Add(1)
		wire.CloseAll(fds)
		_ = answer(c, "FULL", why)
		return false
	}
	x := o.session(fds)
	es, err := s.begin(c, o, x, m, fds)
	if err != nil {
		s.limits.give(o.info.RemoteIP, o.info.User)
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

func (s *service) refused(i relay.Info, why string) {
	s.counters.refused.Add(1)
	s.log.line(fmt.Sprintf("WARN: relayd: session refused, user=%s, ip=[%s], port=[%s]: %s", i.User, i.RemoteIP, i.RemotePort, why))
}

var errElsewhere = errors.New("another relayd encrypts one of the connections")

// begin acknowledges an offer and makes the session ready to run. The acknowledgement leaves before a connection is touched: when it
// can not be sent, the front end has not given the session away. The encryptions that the session was made of are returned.
func (s *service) begin(c *net.UnixConn, o *offer, x *session, m *wire.Message, fds []int) (es [2]*encryption, err error) {
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

// prepare reads the rest of a SESSION message, and makes all descriptors ready. first is what the client is to be told.
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

func answer(c *net.UnixConn, verb, reason string) error {
	m := &wire.Message{Verb: verb}
	if reason != "" {
		m.Fields = map[string]string{"REASON": reason}
	}
	return wire.Send(c, m)
}
