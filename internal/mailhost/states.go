package mailhost

import (
	"cmp"
	"slices"
	"time"
)

// State is one mailhost as metrics and the administrator see it.
type State struct {
	Mailhost
	UnderWay int // logins
	Waiting  int // logins that wait for a slot
	Down     bool
	Since    time.Time // when it went down
	Turned   int       // logins turned away since
}

// States returns the mailhosts at which logins are under way or have failed, sorted by name and address.
func (h *Health) States() []State {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sweep(h.now())
	states := make([]State, 0, len(h.addrs))
	for _, a := range h.addrs {
		if a.underWay == 0 && a.failures == 0 {
			continue
		}
		states = append(states,
			State{a.Mailhost, a.underWay, len(a.waiting), !a.downAt.IsZero(), a.downAt, a.turned})
	}
	slices.SortFunc(states, func(a, b State) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), a.Addr.Compare(b.Addr))
	})
	return states
}

// TurnedAway returns how many logins were let go to no mailhost since the start, because it was down and
// because it was busy.
func (h *Health) TurnedAway() (down, busy uint64) {
	if h == nil {
		return 0, 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.toldDown, h.toldBusy
}
