package mailhost

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// The reasons why Health lets a login not go to an address.
var (
	// ErrDown: the last logins found nobody there, and it is not time to try again or another login does.
	ErrDown = errors.New("the mailhost is down")
	// ErrBusy: as many logins as may be are under way, and as many as may wait are waiting or this one has
	// waited as long as it could.
	ErrBusy = errors.New("too many logins are waiting for the mailhost")
)

const (
	// failuresUntilDown in a row, without a success between, make an address count as down.
	failuresUntilDown = 3
	// waitersPerLogin is how many logins may wait for each one that may be under way.
	waitersPerLogin = 2
	// busyEvery is the time between two events Busy of an address.
	busyEvery = time.Minute
	// forgetAfter: an address without a login attempt for this long is removed. Names get new addresses, and
	// mailhosts are taken out of service while they are down.
	forgetAfter = time.Hour
)

// Health keeps mailhosts that do not answer, or too slowly, from holding up logins at others. It belongs to a
// process that serves many connections; its methods may be called by many goroutines. A nil *Health lets
// everything through.
type Health struct {
	// Names are the mailhosts' names.
	Names *Names

	logins int           // under way at one address at most
	retry  time.Duration // an address that is down is tried once in so long
	now    func() time.Time
	events Events

	mu       sync.Mutex
	addrs    map[netip.AddrPort]*address
	swept    time.Time // when addresses were forgotten last
	toldDown uint64    // logins that were told ErrDown, since the start
	toldBusy uint64
}

// Mailhost is an address, with the name by which the last login came to it.
type Mailhost struct {
	Host string
	Addr netip.AddrPort
}

// Where is the address as it is shown. A unix socket has none.
func (m Mailhost) Where() string {
	if !m.Addr.IsValid() {
		return "unix"
	}
	return m.Addr.String()
}

// Events are callbacks for state changes of mailhosts, called in the order of the changes. They must not
// block or call Health; each may be nil.
type Events struct {
	// Down: a mailhost has not answered three logins in a row; err is the error of the last one.
	Down func(m Mailhost, err error)
	// Up: a mailhost that was down has answered. It was down for so long, and turnedAway logins were not
	// tried.
	Up func(m Mailhost, since time.Duration, turnedAway int)
	// Busy: logins are turned away with ErrBusy. It comes with the first one, and then once a minute with
	// their number since, for as long as there are any.
	Busy func(m Mailhost, turnedAway int)
	// Unresolved: name servers no longer answer for a name, as err says; its last addresses are used.
	Unresolved func(host string, err error)
	// Resolved: they answer again. They did not for so long.
	Resolved func(host string, silent time.Duration)
}

// address is what is known of one mailhost.
type address struct {
	Mailhost
	underWay int             // logins
	waiting  []chan struct{} // closed one by one, first come first served; the slot is handed over with it
	used     time.Time       // somebody wanted to log in
	answered time.Time       // the last time that it did

	failures int       // in a row
	downAt   time.Time // zero = it is up
	nextTry  time.Time // when one login may try an address that is down
	trying   bool      // one does
	turned   int       // logins turned away while it was down

	refused int  // logins turned away because it was busy, since the last event
	telling bool // a timer for the next event runs
}

// NewHealth returns a Health that allows logins under way at one address and lets one login try an address
// that is down every retry. now is the clock.
func NewHealth(logins int, retry time.Duration, now func() time.Time, events Events) *Health {
	return &Health{
		Names:  newNames(logins+waitersPerLogin*logins, now, events),
		logins: logins, retry: retry, now: now, events: events,
		addrs: map[netip.AddrPort]*address{}, swept: now(),
	}
}

// acquire waits for a slot among the logins at addr, which is one of host's. The caller calls answered,
// failed or abandoned on the result exactly once. Errors: ErrDown, ErrBusy, or the cause of ctx's end where
// that is no time limit.
func (h *Health) acquire(ctx context.Context, host string, addr netip.AddrPort) (*loginAttempt, error) {
	if h == nil {
		return nil, nil
	}
	h.mu.Lock()
	a := h.at(host, addr)
	if a.underWay < h.logins {
		defer h.mu.Unlock()
		return h.begin(a)
	}
	if !a.downAt.IsZero() && !h.mayTry(a) {
		defer h.mu.Unlock()
		return nil, h.turnDown(a)
	}
	if len(a.waiting) >= waitersPerLogin*h.logins {
		defer h.mu.Unlock()
		return nil, h.turnBusy(a)
	}
	slot := make(chan struct{})
	a.waiting = append(a.waiting, slot)
	h.mu.Unlock()
	select {
	case <-slot:
		h.mu.Lock()
		defer h.mu.Unlock()
		a.underWay-- // the slot is ours, and begin takes it
		attempt, err := h.begin(a)
		if err != nil { // it has gone down meanwhile
			h.passOn(a)
		}
		return attempt, err
	case <-ctx.Done():
		return nil, h.stopWaiting(ctx, a, slot)
	}
}

// at returns what is known of an address.
func (h *Health) at(host string, addr netip.AddrPort) *address {
	now := h.now()
	h.sweep(now)
	a := h.addrs[addr]
	if a == nil {
		a = &address{}
		h.addrs[addr] = a
	}
	a.Mailhost, a.used = Mailhost{host, addr}, now
	return a
}

// begin lets a login begin, unless the address is down.
func (h *Health) begin(a *address) (*loginAttempt, error) {
	trial := !a.downAt.IsZero()
	if trial {
		if !h.mayTry(a) {
			return nil, h.turnDown(a)
		}
		a.trying, a.nextTry = true, h.now().Add(h.retry)
	}
	a.underWay++
	return &loginAttempt{h: h, a: a, began: h.now(), trial: trial}, nil
}

// mayTry says whether a login may try an address that is down: one at a time, and one every retry.
func (h *Health) mayTry(a *address) bool { return !a.trying && !h.now().Before(a.nextTry) }

func (h *Health) turnDown(a *address) error {
	a.turned++
	h.toldDown++
	return ErrDown
}

func (h *Health) turnBusy(a *address) error {
	h.toldBusy++
	a.refused++
	if !a.telling {
		h.tellBusy(a)
	}
	return ErrBusy
}

// tellBusy tells of logins turned away since the last event, and looks again in a while until there are none.
func (h *Health) tellBusy(a *address) {
	a.telling = a.refused > 0
	if !a.telling {
		h.forget(a)
		return
	}
	if h.events.Busy != nil {
		h.events.Busy(a.Mailhost, a.refused)
	}
	a.refused = 0
	time.AfterFunc(busyEvery, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.tellBusy(a)
	})
}

// stopWaiting takes a login that waits no longer out of the queue. A slot that it was given at the same
// moment goes on. Who has waited for as long as the login may take was turned away.
func (h *Health) stopWaiting(ctx context.Context, a *address, slot chan struct{}) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := context.Cause(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", h.turnBusy(a), err)
	}
	if i := slices.Index(a.waiting, slot); i >= 0 {
		a.waiting = slices.Delete(a.waiting, i, i+1)
		return err
	}
	a.underWay--
	h.passOn(a)
	return err
}

// passOn gives a slot that has become free to the login that has waited longest.
func (h *Health) passOn(a *address) {
	if len(a.waiting) == 0 {
		h.forget(a)
		return
	}
	a.underWay++
	close(a.waiting[0])
	a.waiting = slices.Delete(a.waiting, 0, 1)
}

// forget removes an address without logins and without failures.
func (h *Health) forget(a *address) {
	if a.underWay == 0 && a.failures == 0 && !a.telling && h.addrs[a.Addr] == a {
		delete(h.addrs, a.Addr)
	}
}

// sweep forgets, once in a while, addresses that nobody uses any more.
func (h *Health) sweep(now time.Time) {
	if now.Sub(h.swept) < forgetAfter {
		return
	}
	h.swept = now
	for addr, a := range h.addrs {
		if a.underWay == 0 && !a.telling && now.Sub(a.used) >= forgetAfter {
			delete(h.addrs, addr)
		}
	}
}
