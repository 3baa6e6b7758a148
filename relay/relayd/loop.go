package main

import (
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/relay"
	"mailproxy/relay/internal/pump"
)

const (
	pipesPerLoop = 24 // 1 MiB each; beyond them bulk is copied through the shared buffer
	batch        = 256
	pause        = time.Second // of silence, after which a session gives back what traffic needs
	wakeup       = -1          // slot of the loop's own eventfd
)

// loop is one thread with its share of the sessions. Nothing but the inbox is touched by other goroutines.
type loop struct {
	epoll, wake int
	shop        *pump.Shop
	slots       []*session // by the number that epoll gives back
	free        []int32
	gone        []int32    // slots freed in this round: an event for them may still be in the batch
	busy        []*session // to be put to rest
	halves      []*half    // sessions of which one side has ended
	stopped     bool
	finished    chan struct{}         // closed when run has returned
	ended       func(*session, error) // a session is over; its descriptors are closed already

	mu    sync.Mutex
	inbox []func()
}

func newLoop(ended func(*session, error)) (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	ev, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(ep)
		return nil, err
	}
	l := &loop{epoll: ep, wake: ev, shop: pump.NewShop(pipesPerLoop), ended: ended, finished: make(chan struct{})}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, ev, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeup}); err != nil {
		unix.Close(ep)
		unix.Close(ev)
		return nil, err
	}
	return l, nil
}

// post has f called by the loop's thread, in order.
func (l *loop) post(f func()) {
	l.mu.Lock()
	l.inbox = append(l.inbox, f)
	l.mu.Unlock()
	_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
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

// run serves until stop is posted. Sessions that are left then are closed.
func (l *loop) run() error {
	defer close(l.finished)
	defer unix.Close(l.epoll)
	events := make([]unix.EpollEvent, batch)
	rested := time.Now()
	for !l.stopped {
		timeout := -1
		if len(l.busy)+len(l.halves) > 0 {
			timeout = int(pause / time.Millisecond)
		}
		n, err := unix.EpollWait(l.epoll, events, timeout)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if now := time.Now(); len(l.busy)+len(l.halves) > 0 && now.Sub(rested) >= pause {
			rested = now
			l.restAll()
			l.endHalves(now)
		}
		called := false
		for _, ev := range events[:max(n, 0)] {
			if ev.Fd == wakeup {
				called = true
				continue
			}
			if s := l.slots[ev.Fd]; s != nil {
				l.serve(s, int(ev.Pad), ev.Events)
			}
		}
		l.free = append(l.free, l.gone...)
		l.gone = l.gone[:0]
		if called {
			l.calls()
		}
	}
	for _, s := range l.slots {
		if s != nil {
			l.end(s, errStopped)
		}
	}
	l.shop.Close()
	return nil
}

var errStopped = errors.New("relayd is ending")

func (l *loop) calls() {
	var b [8]byte
	_, _ = unix.Read(l.wake, b[:])
	l.mu.Lock()
	in := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, f := range in {
		f()
	}
}

// adopt gives the loop a session, from any goroutine.
func (l *loop) adopt(x *session) { l.post(func() { l.add(x) }) }

// add takes a session, which may hold bytes and may have ended halfway. When epoll can not take it, it is over at once.
func (l *loop) add(s *session) {
	if n := len(l.free); n > 0 {
		s.slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		s.slot = int32(len(l.slots))
		l.slots = append(l.slots, nil)
	}
	l.slots[s.slot] = s
	// Bytes that it brought along, and a TLS stream that has ended already, wait for nothing but a first turn.
	for i := range s.flow {
		if s.flow[i].Pending(&s.end[1-i]) || s.flow[i].Ended() || s.end[i].Ended || len(s.end[i].In) > 0 {
			s.flow[i].Run(l.shop, &s.end[i], &s.end[1-i])
		}
	}
	if s.over() {
		l.end(s, errors.Join(s.flow[client].Err, s.flow[mailhost].Err))
		return
	}
	l.update(s)
}

// serve handles events on one leg.
func (l *loop) serve(s *session, leg int, events uint32) {
	if s.run(l.shop, leg, events) {
		l.end(s, errors.Join(s.flow[client].Err, s.flow[mailhost].Err))
		return
	}
	l.update(s)
}

// update tells epoll what a session waits for now. An idle session's answer never changes, so it costs no system call.
func (l *loop) update(s *session) {
	for leg := range s.end {
		mask := s.want(leg)
		if mask == s.mask[leg] {
			continue
		}
		op := unix.EPOLL_CTL_MOD
		switch {
		case s.mask[leg] == 0:
			op = unix.EPOLL_CTL_ADD
		case mask == 0: // EPOLLHUP can not be masked: a leg that waits for nothing must not be watched
			op = unix.EPOLL_CTL_DEL
		}
		if err := unix.EpollCtl(l.epoll, op, s.end[leg].FD, &unix.EpollEvent{Events: mask, Fd: s.slot, Pad: int32(leg)}); err != nil {
			l.end(s, err)
			return
		}
		s.mask[leg] = mask
	}
	if !s.ended && (s.flow[0].Ended() || s.flow[1].Ended()) {
		s.ended = true
		h := &half{s, pump.Patience{Limit: time.Duration(s.half) * time.Second}}
		h.Left(&s.flow[0], &s.flow[1], time.Now())
		l.halves = append(l.halves, h)
	}
	if !s.busy && (s.flow[0].Bulky() || s.flow[1].Bulky() || s.end[0].Bulky() || s.end[1].Bulky()) {
		s.busy = true
		l.busy = append(l.busy, s)
	}
}

// remove forgets a session without closing its connections.
func (l *loop) remove(s *session) {
	for leg := range s.end {
		if s.mask[leg] != 0 {
			_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, s.end[leg].FD, nil)
			s.mask[leg] = 0
		}
	}
	l.slots[s.slot] = nil
	l.gone = append(l.gone, s.slot)
}

func (l *loop) end(s *session, err error) {
	l.remove(s)
	s.close(l.shop)
	l.ended(s, err)
}

// half is a session of which one side has ended.
type half struct {
	*session
	pump.Patience
}

// endHalves ends, once a second, the sessions whose other side does nothing any more.
func (l *loop) endHalves(now time.Time) {
	l.halves = slices.DeleteFunc(l.halves, func(h *half) bool {
		over := l.slots[h.slot] != h.session
		if !over && h.Left(&h.flow[0], &h.flow[1], now) <= 0 {
			over = true
			l.end(h.session, relay.ErrHalfClosed)
		}
		return over
	})
}

// restAll puts the sessions that had traffic to rest, once a second. One that is still at it takes a pipe again.
func (l *loop) restAll() {
	for _, s := range l.busy {
		s.busy = false
		if l.slots[s.slot] == s {
			s.rest(l.shop)
		}
	}
	l.busy = nil
	l.shop.Release()
}
