package mailhost

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// inherited is what the next process gets to know of an address at which logins have failed. Times are how
// long ago and how long from now: the clock may be set meanwhile.
type inherited struct {
	Host     string         `json:"host"`
	Addr     netip.AddrPort `json:"addr"`
	Failures int            `json:"failures"`
	Used     time.Duration  `json:"used"`
	// Of a mailhost that is down:
	Down    time.Duration `json:"down,omitempty"`
	NextTry time.Duration `json:"nextTry,omitempty"`
	Turned  int           `json:"turned,omitempty"`
}

// MarshalBinary returns what is known of mailhosts that do not answer, for the process that follows: without
// it a reload in an outage would send a crowd of logins there once more. A login that tries one at this
// moment ends here; the next process tries again when it is time.
func (h *Health) MarshalBinary() ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	all := []inherited{}
	for _, a := range h.addrs {
		if a.failures == 0 {
			continue
		}
		one := inherited{Host: a.Host, Addr: a.Addr, Failures: a.failures, Used: now.Sub(a.used)}
		if !a.downAt.IsZero() {
			one.Down, one.Turned = max(now.Sub(a.downAt), 1), a.turned
			one.NextTry = max(min(a.nextTry.Sub(now), h.retry), 0)
		}
		all = append(all, one)
	}
	return json.Marshal(all)
}

// UnmarshalBinary learns what MarshalBinary returned in another process. After an error nothing is learned.
// It is for a Health that has not been used.
func (h *Health) UnmarshalBinary(data []byte) error {
	var all []inherited
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for _, one := range all {
		if !one.Addr.IsValid() || one.Failures < 1 || one.Used < 0 || one.Down < 0 || one.NextTry < 0 ||
			one.Turned < 0 {
			return fmt.Errorf("mailhost %q, address %v: not what a process says", one.Host, one.Addr)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	for _, one := range all {
		a := &address{
			Mailhost: Mailhost{one.Host, one.Addr}, failures: one.Failures, used: now.Add(-one.Used),
		}
		if one.Down > 0 {
			a.downAt, a.turned = now.Add(-one.Down), one.Turned
			a.nextTry = now.Add(min(one.NextTry, h.retry)) // the settings may be new
		}
		h.addrs[one.Addr] = a
	}
	return nil
}

// inheritedName is what the next process gets to know of a mailhost's name. Times are how long ago.
type inheritedName struct {
	Addrs    []netip.Addr  `json:"addrs"`
	Answered time.Duration `json:"answered"`
	Silent   time.Duration `json:"silent,omitempty"`
}

// MarshalBinary returns the last answers of name servers, for the process that follows: without them a reload
// while name servers do not answer would end logins that go on.
func (n *Names) MarshalBinary() ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	all := map[string]inheritedName{}
	for host, a := range n.all {
		if len(a.addrs) == 0 {
			continue
		}
		one := inheritedName{Addrs: a.addrs, Answered: now.Sub(a.answered)}
		if !a.silent.IsZero() {
			one.Silent = max(now.Sub(a.silent), 1)
		}
		all[host] = one
	}
	return json.Marshal(all)
}

// UnmarshalBinary learns what MarshalBinary returned in another process. After an error nothing is learned.
// It is for Names that have not been used.
func (n *Names) UnmarshalBinary(data []byte) error {
	var all map[string]inheritedName
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for host, one := range all {
		if slices.ContainsFunc(one.Addrs, isInvalid) || one.Answered < 0 || one.Silent < 0 {
			return fmt.Errorf("mailhost %q, addresses %v: not what a process says", host, one.Addrs)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	for host, one := range all {
		a := &name{addrs: one.Addrs, answered: now.Add(-one.Answered)}
		if one.Silent > 0 {
			a.silent = now.Add(-one.Silent)
		}
		n.all[host] = a
	}
	return nil
}

func isInvalid(addr netip.Addr) bool { return !addr.IsValid() }
