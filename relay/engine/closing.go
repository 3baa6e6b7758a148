package engine

import (
	"crypto/tls"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/relay"
	"mailproxy/relay/tlsrecord"
)

const (
	closeTick   = 50 * time.Millisecond   // how often a session that is closing is looked at, for closeTime
	closeTime   = 1200 * time.Millisecond // an ordinary end is over by then; the rest is looked at each pause
	deliverTime = time.Second             // for a client that has been delivered everything to close its side
	refuseTime  = time.Second             // for an alert, and what was written before it, to be delivered
	stopTime    = time.Second             // the same for what a session holds when the program ends
	discardTurn = 256 << 10               // bytes discarded at once at most
)

// halfClosed is the time that a session is given of which one side has ended. It is counted from the last
// byte that moved.
type halfClosed struct {
	moved int64
	since time.Time
}

// closing is a session that is over but for what its peers have not received. What they send is discarded
// meanwhile: a connection that is closed with bytes to be read is reset, and a reset takes away what the
// peer has not read.
type closing struct {
	begun time.Time
	err   error
	grace time.Duration // for a peer to close its side when everything has been delivered
	limit time.Duration // in which something must be delivered
	since time.Time     // when something was
	reset bool          // the end is no orderly one: without TLS the peer is told by a reset
	legs  [2]closingLeg
}

type closingLeg struct {
	settled   bool // nothing is left to be done
	eof       bool // the peer has ended its side
	queued    int  // bytes that the peer has not acknowledged
	delivered time.Time
}

// drain ends a session whose mailhost has ended: that is the session's end. The client, which has been
// told, gets everything that was written to it.
func (l *loop) drain(s *session) {
	m := &s.legs[mailhost]
	if up := &s.flows[client]; m.tls != nil && !m.shut && up.err == nil && !up.pending(m) {
		m.out, _ = m.tls.SealEnd(m.out)
		_, _ = m.flush() // the mailhost may be gone already
	}
	s.flows[client].stop(l.buffers, nil)
	_ = unix.Shutdown(m.fd, unix.SHUT_RDWR)
	m.out, m.shut = nil, true
	c := &closing{err: s.flows[mailhost].err, grace: deliverTime, limit: time.Duration(s.limit) * time.Second}
	c.legs[mailhost].settled = true
	l.startClosing(s, c)
}

// refuse ends a session whose leg n broke the TLS protocol: both sides are told that the end is no orderly
// one.
func (l *loop) refuse(s *session, n int) {
	err := s.flows[n].err
	for i := range s.legs {
		g := &s.legs[i]
		s.flows[i].done = true
		if g.tls == nil || g.shut || i == n && errors.Is(err, tlsrecord.ErrAlert) {
			continue
		}
		alert := tls.AlertError(80) // internal_error: it is not this peer's fault
		if i == n {
			alert = tlsrecord.AlertFor(err)
		}
		g.out, _ = g.tls.SealAlert(g.out, alert)
	}
	l.startClosing(s, &closing{err: err, limit: refuseTime, reset: true})
}

// stop ends a session because the program ends: what it holds is delivered, nothing is added.
func (l *loop) stop(s *session) {
	if s.closing == nil {
		s.flows[client].done, s.flows[mailhost].done = true, true
		l.startClosing(s, &closing{err: relay.ErrStopped, limit: stopTime})
	}
	l.hurry(s.closing)
	s.closing.grace, s.closing.limit = 0, min(s.closing.limit, stopTime)
}

func (l *loop) startClosing(s *session, c *closing) {
	l.hurry(c)
	c.since = c.begun
	s.closing = c
	if s.half == nil {
		l.ending = append(l.ending, s)
	}
}

// hurry has a session that is closing looked at often for a while.
func (l *loop) hurry(c *closing) {
	c.begun = time.Now()
	l.hurried = c.begun.Add(closeTime)
}

// step does what can be done, and reports whether the session is over.
func (c *closing) step(b *buffers, s *session, now time.Time) (over bool) {
	for n := range c.legs {
		if !c.legs[n].settled {
			c.legs[n].settled = c.stepLeg(b, s, n, now)
		}
	}
	if c.legs[client].settled && c.legs[mailhost].settled {
		return true
	}
	if now.Sub(c.since) < c.limit {
		return false
	}
	if c.err == nil {
		c.err = relay.ErrHalfClosed
	}
	return true
}

// stepLeg delivers what is held for a leg, ends our direction, discards what the peer sends, and reports
// whether nothing is left to be done: the peer has all of it, and has closed its side or had its time to do
// so.
func (c *closing) stepLeg(b *buffers, s *session, n int, now time.Time) (settled bool) {
	state, g, f := &c.legs[n], &s.legs[n], &s.flows[1-n]
	if f.pending(g) {
		written, err := f.drain(g)
		if written > 0 {
			c.since = now
		}
		if err != nil && err != unix.EAGAIN {
			return true
		}
	}
	pending := f.pending(g)
	if !pending && !g.shut && (!c.reset || g.tls != nil) {
		_ = unix.Shutdown(g.fd, unix.SHUT_WR)
		g.shut = true
	}
	if !state.eof {
		eof, err := discard(b, g.fd)
		if err != nil {
			return true
		}
		state.eof = eof
	}
	if pending {
		return false
	}
	if state.eof && !c.reset {
		return true // the kernel delivers the rest: nothing will have it reset the connection
	}
	queued := undelivered(g.fd)
	if queued != state.queued {
		state.queued, c.since = queued, now
	}
	if queued > 0 {
		return false
	}
	if state.delivered.IsZero() {
		state.delivered = now
	}
	return now.Sub(state.delivered) >= c.grace
}

// discard reads and forgets what a peer sends.
func discard(b *buffers, fd int) (eof bool, err error) {
	buf, _ := b.scratch(false)
	for total := 0; total < discardTurn; {
		n, err := read(fd, buf)
		switch {
		case err == unix.EAGAIN:
			return false, nil
		case err != nil:
			return false, err
		case n == 0:
			return true, nil
		}
		total += n
	}
	return false, nil
}

// want returns what epoll has to watch a leg for.
func (c *closing) want(s *session, n int) (mask uint32) {
	if c.legs[n].settled {
		return 0
	}
	if !c.legs[n].eof {
		mask |= unix.EPOLLIN
	}
	if s.flows[1-n].pending(&s.legs[n]) {
		mask |= unix.EPOLLOUT
	}
	return mask
}

// finish has connections without TLS reset when the end is no orderly one.
func (c *closing) finish(s *session) {
	for i := range s.legs {
		if g := &s.legs[i]; c.reset && g.tls == nil && !g.shut {
			_ = unix.SetsockoptLinger(g.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}
	}
}
