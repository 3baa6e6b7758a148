package main

import (
	"net"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/relay"
	"mailproxy/relay/internal/pump"
	"mailproxy/relay/internal/wire"
)

// unite makes leg of x the encrypted connection itself, without the socket pair whose other end is near, and returns what stood
// in the pair for the other leg. Where that can not be, near is the leg, and the connection goes on behind it: because it is over and
// the pair holds the last of it, or because crypto/tls carries it.
func (s *service) unite(x *session, leg int, e *encryption, near int) (early []byte, err error) {
	x.end[leg] = pump.End{FD: near}
	if e == nil || e.x == nil {
		return nil, nil
	}
	apart := false
	e.l.call(func() {
		if e.l.slots[e.x.slot] != e.x {
			return
		}
		var flow pump.Flow
		conn, far := &e.x.end[client], &e.x.end[mailhost]
		if flow, early, apart, err = pump.Unpair(&e.x.flow[client], &e.x.flow[mailhost], conn, far, near); !apart {
			return
		}
		e.l.remove(e.x)
		unix.Close(far.FD)
		unix.Close(near)
		x.end[leg], x.flow[leg] = *conn, flow
	})
	if !apart {
		e.l.post(func() { e.l.limit(e.x, time.Duration(x.half)*time.Second) })
	}
	return early, err
}

// goodbye is how long a connection lives on whose front end is gone: for what it has been sent to arrive.
const goodbye = 2 * time.Second

// abandon ends a connection that nobody works on any more, unless somebody has been faster. What was written to the pair is still
// sent.
func (s *service) abandon(e *encryption) {
	if s.encryptions.take(e.id) == nil && e.id != "" {
		return
	}
	switch {
	case e.kept != nil:
		e.kept.end(goodbye)
	case e.x != nil:
		e.l.post(func() { e.l.abandon(e.x) })
	}
}

// abandon ends a session of this loop, of which the far end of the pair is the second leg, when it has said its last.
func (l *loop) abandon(x *session) {
	if l.slots[x.slot] != x {
		return
	}
	_ = unix.Shutdown(x.end[mailhost].FD, unix.SHUT_RDWR)
	x.flow[mailhost].Run(l.shop, &x.end[mailhost], &x.end[client])
	l.limit(x, goodbye)
	l.serve(x, mailhost, 0)
}

// limit ends a session that has no limit yet when one of its sides has ended and nothing has moved for so long.
func (l *loop) limit(x *session, d time.Duration) {
	if l.slots[x.slot] == x && !x.ended {
		x.ended = true
		l.halves = append(l.halves, &half{x, pump.Patience{Limit: d}})
	}
}

// goOn makes an encrypted connection a session that is logged in and goes on over the pair.
func (s *service) goOn(c *net.UnixConn, e *encryption, m *wire.Message) (over bool) {
	o, err := offerFrom(m, nil, 0)
	if err != nil {
		_ = answer(c, "FAIL", err.Error())
		return false
	}
	if o.info.RemoteIP == "" {
		o.info.RemoteIP, o.info.RemotePort = e.info.RemoteIP, e.info.RemotePort
	}
	if verdict, why := s.limits.goOn(o.info.RemoteIP, o.info.User); verdict == refused {
		s.refused(o.info, why)
		_ = answer(c, "LIMIT", why)
		return false
	}
	if answer(c, "OK", "") != nil || s.encryptions.take(e.id) == nil {
		s.limits.give(o.info.RemoteIP, o.info.User)
		return false
	}
	s.counters.taken.Add(1)
	if e.kept != nil {
		e.kept.goOn(func() { s.limits.give(o.info.RemoteIP, o.info.User) })
		return true
	}
	here := false
	e.l.call(func() {
		if here = e.l.slots[e.x.slot] == e.x; !here {
			return
		}
		e.x.flow[client].Moved, e.x.flow[mailhost].Moved = 0, 0 // the dialogue before is not the session
		e.x.login, e.x.half, e.x.start, e.x.names = false, o.half, o.info.Start.Unix(), names(o.info)
		relay.Tune(e.x.end[client].FD, o.keep)
		e.l.update(e.x)
	})
	if !here {
		s.counters.ended.Add(1)
		s.limits.give(o.info.RemoteIP, o.info.User)
	}
	return true
}
