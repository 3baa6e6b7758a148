package mailhost

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// The reasons why Health lets a login not go to an address.
var (
	// ErrDown: the last logins found nobody there, and somebody else is trying already.
	ErrDown = errors.New("the mailhost is down")
	// ErrBusy: as many logins as may be are under way, and as many as may wait are waiting.
	ErrBusy = errors.New("too many logins are waiting for the mailhost")
)

// failuresUntilDown in a row, without a success between, make an address count as down.
const failuresUntilDown = 3

// waitersPerLogin is how many logins may wait for each one that may be under way.
const waitersPerLogin = 2

// Health keeps mailhosts that do not answer from holding up logins at others. It belongs to a process that
// serves many connections; its methods may be called by many goroutines. A nil *Health lets everything
// through.
type Health struct {
	logins int           // under way at one address at most
	retry  time.Duration // an address that is down is tried once in so long
	now    func() time.Time
	events Events

	mu    sync.Mutex
	addrs map[netip.AddrPort]*address
}

// Events are told what becomes of addresses. They are called without locks held, and may be nil.
type Events struct {
	// Down: an address has failed three times in a row; err is what the last login met.
	Down func(addr netip.AddrPort, err error)
	// Up: an address that was down has answered. For says how long it was down, turnedAway how many logins
	// were not tried.
	Up func(addr netip.AddrPort, since time.Duration, turnedAway int)
}

// address is what is known of one mailhost.
type address struct {
	underWay int             // logins
	waiting  []chan struct{} // closed one by one, first come first served; the place is handed over with it
	failures int             // in a row
	downAt   time.Time       // zero = it is up
	nextTry  time.Time       // when one login may try an address that is down
	turned   int             // logins turned away while it was down
}

// NewHealth returns a Health that allows logins under way at one address and lets one login try an address
// that is down every retry. now is the clock.
func NewHealth(logins int, retry time.Duration, now func() time.Time, events Events) *Health {
	return &Health{logins: logins, retry: retry, now: now, events: events, addrs: map[netip.AddrPort]*address{}}
}

// Enter waits for a place among the logins at addr. The caller calls Done on the result exactly once. Errors:
// ErrDown, ErrBusy, or the cause of ctx's end.
func (h *Health) Enter(ctx context.Context, addr netip.AddrPort) (*Attempt, error) {
	if h == nil {
		return nil, nil
	}
	h.mu.Lock()
	a := h.addrs[addr]
	if a == nil {
		a = &address{}
		h.addrs[addr] = a
	}
	if err := a.mayTry(h.now(), h.retry); err != nil {
		h.mu.Unlock()
		return nil, err
	}
	if a.underWay < h.logins {
		a.underWay++
		h.mu.Unlock()
		return &Attempt{h: h, addr: addr, a: a}, nil
	}
	if len(a.waiting) >= waitersPerLogin*h.logins {
		h.mu.Unlock()
		return nil, ErrBusy
	}
	place := make(chan struct{})
	a.waiting = append(a.waiting, place)
	h.mu.Unlock()
	select {
	case <-place:
	case <-ctx.Done():
		h.leave(addr, a, place)
		return nil, context.Cause(ctx)
	}
	h.mu.Lock()
	err := a.mayTry(h.now(), h.retry)
	h.mu.Unlock()
	l := &Attempt{h: h, addr: addr, a: a}
	if err != nil { // it has gone down meanwhile
		l.finish(nil)
		return nil, err
	}
	return l, nil
}

// mayTry says whether a login may go to the address now. Of an address that is down, it lets one through
// every retry.
func (a *address) mayTry(now time.Time, retry time.Duration) error {
	if a.downAt.IsZero() {
		return nil
	}
	if now.Before(a.nextTry) {
		a.turned++
		return ErrDown
	}
	a.nextTry = now.Add(retry)
	return nil
}

// leave takes a login that waits no longer out of the queue. A place that it was given at the same moment
// goes on.
func (h *Health) leave(addr netip.AddrPort, a *address, place chan struct{}) {
	h.mu.Lock()
	for i, p := range a.waiting {
		if p == place {
			a.waiting = append(a.waiting[:i], a.waiting[i+1:]...)
			h.mu.Unlock()
			return
		}
	}
	h.mu.Unlock()
	(&Attempt{h: h, addr: addr, a: a}).finish(nil)
}

// Attempt is one login under way at a mailhost.
type Attempt struct {
	h    *Health
	addr netip.AddrPort
	a    *address
}

// Answered says that the mailhost has greeted, whatever came of the login, and that the login is no longer
// under way.
func (l *Attempt) Answered() {
	if l == nil {
		return
	}
	l.finish(func(now time.Time) func() {
		since, turned := l.a.downAt, l.a.turned
		l.a.failures, l.a.downAt, l.a.turned = 0, time.Time{}, 0
		if since.IsZero() || l.h.events.Up == nil {
			return nil
		}
		return func() { l.h.events.Up(l.addr, now.Sub(since), turned) }
	})
}

// Failed says that nobody was there: refused, timed out, no greeting. err is why.
func (l *Attempt) Failed(err error) {
	if l == nil {
		return
	}
	l.finish(func(now time.Time) func() {
		l.a.failures++
		if l.a.failures < failuresUntilDown || !l.a.downAt.IsZero() {
			return nil
		}
		l.a.downAt, l.a.nextTry = now, now.Add(l.h.retry)
		if l.h.events.Down == nil {
			return nil
		}
		return func() { l.h.events.Down(l.addr, err) }
	})
}

// Abandoned says that the login ended without telling anything about the mailhost: the client went away.
func (l *Attempt) Abandoned() {
	if l != nil {
		l.finish(nil)
	}
}

// finish gives the place to the next login that waits, notes what is known of the address, and forgets an
// address of which there is nothing to know.
func (l *Attempt) finish(note func(now time.Time) (tell func())) {
	var tell func()
	l.h.mu.Lock()
	if note != nil {
		tell = note(l.h.now())
	}
	switch {
	case len(l.a.waiting) > 0:
		close(l.a.waiting[0])
		l.a.waiting = l.a.waiting[1:]
	default:
		l.a.underWay--
	}
	if l.a.underWay == 0 && l.a.failures == 0 && l.h.addrs[l.addr] == l.a {
		delete(l.h.addrs, l.addr)
	}
	l.h.mu.Unlock()
	if tell != nil {
		tell()
	}
}

// State is one mailhost address as metrics and the administrator see it.
type State struct {
	Addr     netip.AddrPort
	UnderWay int
	Waiting  int
	Down     bool
	Since    time.Time // when it went down
	Turned   int       // logins turned away since
}

// States returns the addresses at which logins are under way or have failed, in no order.
func (h *Health) States() []State {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	states := make([]State, 0, len(h.addrs))
	for addr, a := range h.addrs {
		states = append(states, State{addr, a.underWay, len(a.waiting), !a.downAt.IsZero(), a.downAt, a.turned})
	}
	return states
}
