package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

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
}

// counters are what metrics and stats show.
type counters struct {
	taken, ended, errors     atomic.Int64 // sessions
	refused, full, denied    atomic.Int64 // hand-overs
	fromClient, fromMailhost atomic.Int64 // bytes of ended sessions
	reported, malformed      atomic.Int64 // REPORT messages
	logins                   logins
}

const (
	maxTalks    = 512              // front ends in conversation at once; the others wait in the listen queue
	talkTimeout = 60 * time.Second // a front end that says nothing
)

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
			defer func() { c.Close(); <-s.slots; s.talking.Add(-1) }()
			s.talk(ctx, c)
		}()
	}
}

// talk serves one caller: a front end with a session, or an administrator with a question.
func (s *service) talk(ctx context.Context, c *net.UnixConn) {
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
	if err != nil || m.Verb != "SESSION" {
		wire.CloseAll(fds)
	}
	switch {
	case errors.Is(err, wire.ErrFiles):
		s.counters.full.Add(1)
		_ = answer(c, "FULL", err.Error())
	case err != nil:
		return
	case m.Verb == "SESSION":
		s.reserve(c, m, fds)
	case m.Verb == "REPORT":
		s.report(c, m)
	case m.Verb == "WHO", m.Verb == "KICK", m.Verb == "STATS":
		s.admin(c, m)
	default:
		_ = answer(c, "FAIL", "unknown request")
	}
}

// reserve holds a place, with the descriptors, until the front end says START or goes away.
func (s *service) reserve(c *net.UnixConn, m *wire.Message, fds []int) {
	x, err := sessionFrom(m, fds)
	if err != nil {
		wire.CloseAll(fds)
		_ = answer(c, "FAIL", err.Error())
		return
	}
	i := x.info()
	switch verdict, why := s.limits.take(i.RemoteIP, i.User); verdict {
	case refused:
		s.counters.refused.Add(1)
		s.countSession(m, relay.LoginLimit)
		s.log.line(fmt.Sprintf("WARN: relayd: session refused, user=%s, ip=[%s], port=[%s]: %s", i.User, i.RemoteIP, i.RemotePort, why))
		wire.CloseAll(fds)
		_ = answer(c, "LIMIT", why)
		return
	case full:
		s.counters.full.Add(1)
		wire.CloseAll(fds)
		_ = answer(c, "FULL", why)
		return
	}
	if err := s.await(c, x); err != nil {
		s.limits.give(i.RemoteIP, i.User)
		wire.CloseAll(fds)
		return
	}
	s.countSession(m, relay.LoginOK)
	s.start(x)
}

// await is the second step of a hand-over. The acknowledgement leaves before the session is touched: when it can not be
// sent, the front end has not given the session away.
func (s *service) await(c *net.UnixConn, x *session) error {
	if err := answer(c, "OK", ""); err != nil {
		return err
	}
	m, fds, err := wire.Receive(c)
	wire.CloseAll(fds)
	if err != nil {
		return err
	}
	if m.Verb != "START" {
		return errors.New("START expected")
	}
	if err := x.takeTLS(m); err != nil {
		s.log.line(fmt.Sprintf("ERR: relayd: %v", err))
		return err
	}
	if err := x.neverWait(); err != nil {
		return err
	}
	return answer(c, "OK", "")
}

func answer(c *net.UnixConn, verb, reason string) error {
	m := &wire.Message{Verb: verb}
	if reason != "" {
		m.Fields = map[string]string{"REASON": reason}
	}
	return wire.Send(c, m)
}
