package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"mailproxy/internal/guard"
	"mailproxy/relay"
)

const (
	pipesPerLoop = 24 // 1 MiB each; beyond them bulk is copied through the shared buffers
	batch        = 256
	pause        = time.Second // of silence, after which a session gives back what traffic needs
)

var errPanic = errors.New("a fault in this program")

// loop is one goroutine with its share of the sessions. Other goroutines touch only the inbox.
type loop struct {
	poller   *poller
	buffers  *buffers
	slots    []*session // by the number that epoll gives back
	free     []int32
	gone     []int32    // slots freed in this round: an event for them may still be in the batch
	busy     []*session // to be put to rest
	ending   []*session // of which one side has ended, or which are closing
	hurried  time.Time  // until then some of these are looked at every closeTick
	tick     time.Time  // when busy and ending sessions are next looked at without an event; zero = never
	stopped  bool
	finished chan struct{}         // closed when run has returned
	over     func(*session, error) // a session is over; its file descriptors are closed already
	log      func(line string)
	onEvent  func(*session) // nil but in tests

	mu    sync.Mutex // of those below
	inbox []func()   // functions to run in the loop; adding the first one wakes the poller
	ended bool
}

func newLoop(shared bool, over func(*session, error), log func(string)) (*loop, error) {
	p, err := newPoller(shared)
	if err != nil {
		return nil, fmt.Errorf("event loop: %w", err)
	}
	return &loop{poller: p, over: over, log: log, finished: make(chan struct{}),
		buffers: &buffers{pipes: pipeStock{limit: pipesPerLoop}}}, nil
}

// post has f called by the loop's goroutine, in order; false: the loop has ended.
func (l *loop) post(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.inbox = append(l.inbox, f)
	if len(l.inbox) == 1 {
		l.poller.wake()
	}
	return true
}

// call is post and waits until f has returned, or the loop has ended.
func (l *loop) call(f func()) {
	done := make(chan struct{})
	l.post(func() { defer close(done); f() })
	select {
	case <-done:
	case <-l.finished:
	}
}

// run serves until stopped is set. Sessions that are left then are closed.
func (l *loop) run() {
	defer close(l.finished)
	rested, ticked := time.Now(), time.Now()
	for !l.stopped {
		l.setTick()
		events, err := l.poller.wait(l.tick)
		if err != nil {
			l.log(fmt.Sprintf("ERR: event loop: epoll_wait: %v", err))
			break
		}
		now := time.Now()
		if now.Before(l.hurried) && now.Sub(ticked) >= closeTick {
			ticked = now
			l.eachEnding(now, func(s *session) bool {
				return s.closing != nil && now.Sub(s.closing.begun) < closeTime
			})
		}
		if len(l.busy)+len(l.ending) > 0 && now.Sub(rested) >= pause {
			rested = now
			l.restAll()
			l.eachEnding(now, func(*session) bool { return true })
		}
		for _, ev := range events {
			if ev.Fd == noSlot {
				continue
			}
			if s := l.slots[ev.Fd]; s != nil && !s.frozen {
				l.guard(s, func() { l.serve(s, int(ev.Pad), ev.Events) })
			}
		}
		l.free = append(l.free, l.gone...)
		l.gone = l.gone[:0]
		l.calls()
	}
	for ended := false; !ended; {
		for _, s := range l.slots {
			if s != nil {
				l.guard(s, func() { l.end(s, relay.ErrStopped) })
			}
		}
		if ended = l.close(); !ended {
			l.calls()
		}
	}
	l.buffers.close()
}

// close has post fail from now on; false: something was posted before that.
func (l *loop) close() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.inbox) > 0 {
		return false
	}
	l.ended = true
	l.poller.close()
	return true
}

// setTick says when the poller returns for the sessions that are looked at without an event.
func (l *loop) setTick() {
	var wait time.Duration
	now := time.Now()
	switch {
	case len(l.ending) > 0 && now.Before(l.hurried):
		wait = closeTick
	case len(l.busy)+len(l.ending) > 0:
		wait = pause
	}
	if !now.Before(l.tick) {
		l.tick = time.Time{}
	}
	if wait > 0 && (l.tick.IsZero() || l.tick.Sub(now) > wait) { // one that comes too early does no harm
		l.tick = now.Add(wait)
	}
}

// guard calls f for a session, if any. A panic ends that one session.
func (l *loop) guard(s *session, f func()) {
	defer guard.Recover(l.log, "a session", func() {
		if s != nil && l.slots[s.slot] == s {
			l.abandon(s)
		}
	})
	f()
}

// abandon ends a session in an unknown state.
func (l *loop) abandon(s *session) {
	for i := range s.flows {
		if p := s.flows[i].pipe; p != nil {
			p.held = max(p.held, 1) // it is closed, not used again
		}
	}
	l.end(s, errPanic)
}

// calls calls what was posted.
func (l *loop) calls() {
	l.mu.Lock()
	in := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, f := range in {
		l.guard(nil, f)
	}
}

// add takes a session, which may hold bytes and may have ended halfway. When epoll cannot take it, it is
// over at once.
func (l *loop) add(s *session) {
	if n := len(l.free); n > 0 {
		s.slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		s.slot = int32(len(l.slots))
		l.slots = append(l.slots, nil)
	}
	l.slots[s.slot] = s
	l.guard(s, func() {
		if s.half != nil || s.closing != nil {
			l.ending = append(l.ending, s)
		}
		if s.closing == nil {
			s.moveFirst(l.buffers)
		}
		l.advance(s)
		if s.half != nil && s.closing == nil && l.slots[s.slot] == s {
			l.checkEnding(s, time.Now()) // its time may have been over before it came here
		}
	})
}

// serve handles events on one leg.
func (l *loop) serve(s *session, n int, events uint32) {
	if l.onEvent != nil {
		l.onEvent(s)
	}
	if s.closing == nil {
		s.move(l.buffers, n, events)
	}
	l.advance(s)
}

// advance finds out where a session stands after something has happened, and waits for what comes next.
func (l *loop) advance(s *session) {
	up, down := &s.flows[client], &s.flows[mailhost]
	if s.closing == nil {
		switch {
		case up.refused():
			l.refuse(s, client)
		case down.refused():
			l.refuse(s, mailhost)
		case up.done && down.done, up.truncated():
			l.end(s, errors.Join(up.err, down.err))
			return
		case up.done && up.err != nil && s.legs[client].gone():
			// After a reset nobody reads what the mailhost may still send. It may come between an event and
			// the reading.
			l.end(s, up.err)
			return
		case down.done && !down.unwritable:
			l.drain(s)
		}
	}
	if s.closing != nil && s.closing.step(l.buffers, s, time.Now()) {
		l.end(s, s.closing.err)
		return
	}
	l.update(s)
}

// update tells epoll what a session waits for now. An idle session's answer never changes, so it costs no
// system call.
func (l *loop) update(s *session) {
	for n := range s.legs {
		g, mask := &s.legs[n], s.want(n)
		if mask == g.mask {
			continue
		}
		if err := l.poller.watch(g.fd, s.slot, n, mask, g.mask); err != nil {
			l.end(s, err)
			return
		}
		g.mask = mask
	}
	if s.half == nil && s.closing == nil && (s.flows[0].ended() || s.flows[1].ended()) {
		s.half = &halfClosed{moved: s.flows[0].moved + s.flows[1].moved, since: time.Now()}
		l.ending = append(l.ending, s)
	}
	if !s.busy && s.holds() {
		s.busy = true
		l.busy = append(l.busy, s)
	}
}

// unwatch has epoll forget a session.
func (l *loop) unwatch(s *session) {
	for n := range s.legs {
		if g := &s.legs[n]; g.mask != 0 {
			_ = l.poller.watch(g.fd, s.slot, n, 0, g.mask)
			g.mask = 0
		}
	}
}

// remove forgets a session without closing its connections.
func (l *loop) remove(s *session) {
	l.unwatch(s)
	l.slots[s.slot] = nil
	l.gone = append(l.gone, s.slot)
}

func (l *loop) end(s *session, err error) {
	l.remove(s)
	if s.closing != nil {
		s.closing.finish(s)
	}
	s.close(l.buffers)
	l.over(s, err)
}

// eachEnding looks after the sessions of which one side has ended, or which are closing.
func (l *loop) eachEnding(now time.Time, which func(*session) bool) {
	l.ending = slices.DeleteFunc(l.ending, func(s *session) bool {
		if l.slots[s.slot] != s {
			return true
		}
		if !s.frozen && which(s) {
			l.guard(s, func() { l.checkEnding(s, now) })
		}
		return l.slots[s.slot] != s
	})
}

func (l *loop) checkEnding(s *session, now time.Time) {
	if s.closing != nil {
		l.advance(s)
		return
	}
	if moved := s.flows[0].moved + s.flows[1].moved; moved != s.half.moved {
		s.half.moved, s.half.since = moved, now
	}
	if now.Sub(s.half.since) >= time.Duration(s.limit)*time.Second {
		l.end(s, relay.ErrHalfClosed)
	}
}

// restAll puts the sessions that had traffic to rest, once a second. One that is still at it takes a pipe
// again.
func (l *loop) restAll() {
	for _, s := range l.busy {
		s.busy = false
		if l.slots[s.slot] == s {
			s.releaseIdle(l.buffers)
		}
	}
	l.busy = nil
	l.buffers.release()
}
