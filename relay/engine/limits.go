package engine

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"

	"mailproxy/relay"
)

// Limits are the limits on the number of sessions; 0 means no limit.
type Limits struct {
	Sessions   int // in all
	PerAddress int // of one client address; the addresses of an IPv6 /64 count as one
	PerUser    int
	// Capacity is the number of sessions for which there are file descriptors. Beyond it the answer is
	// relay.ErrUnavailable: another carrier may do better. It must leave some for everything else.
	Capacity int
}

// counts are the sessions there are, from the moment that they are asked for.
type counts struct {
	limits Limits

	mu        sync.Mutex
	none      *sync.Cond // all = 0
	all       int
	addresses map[string]int
	users     map[string]int
	mailhosts map[string]int
	refused   Refused
}

// Refused counts the sessions that were not taken: because of a limit (in all, of an address, of a user), or
// because there were no file descriptors left.
type Refused struct{ All, Address, User, Descriptors int64 }

// acquire counts one more session, unless a limit is against it.
func (c *counts) acquire(i relay.Info) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.limits
	address := addressKey(i.RemoteIP)
	switch {
	case l.Sessions > 0 && c.all >= l.Sessions:
		c.refused.All++
		return fmt.Errorf("%w: %d sessions in all", relay.ErrLimit, c.all)
	case l.PerAddress > 0 && c.addresses[address] >= l.PerAddress:
		c.refused.Address++
		return fmt.Errorf("%w: %d sessions of %s", relay.ErrLimit, c.addresses[address], address)
	case l.PerUser > 0 && c.users[i.User] >= l.PerUser:
		c.refused.User++
		return fmt.Errorf("%w: %d sessions of this user", relay.ErrLimit, c.users[i.User])
	case l.Capacity > 0 && c.all >= l.Capacity:
		c.refused.Descriptors++
		return fmt.Errorf("%w: %w: %d sessions", relay.ErrUnavailable, errNoDescriptors, c.all)
	}
	c.add(i)
	return nil
}

var errNoDescriptors = errors.New("no more file descriptors")

// adopt counts a session that another process has passed on; limits were asked when it began.
func (c *counts) adopt(i relay.Info) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(i)
}

// add keeps the maps only for limits that are set: with ten thousand sessions they are memory. Mailhosts are
// few.
func (c *counts) add(i relay.Info) {
	c.all++
	if c.mailhosts == nil {
		c.mailhosts = make(map[string]int)
	}
	c.mailhosts[strings.Clone(i.Mailhost)]++
	if c.limits.PerAddress > 0 {
		if c.addresses == nil {
			c.addresses = make(map[string]int)
		}
		c.addresses[addressKey(i.RemoteIP)]++
	}
	if c.limits.PerUser > 0 {
		if c.users == nil {
			c.users = make(map[string]int)
		}
		c.users[i.User]++
	}
}

// release takes one session off.
func (c *counts) release(i relay.Info) {
	c.mu.Lock()
	defer c.mu.Unlock()
	less(c.addresses, addressKey(i.RemoteIP))
	less(c.users, i.User)
	less(c.mailhosts, i.Mailhost)
	if c.all--; c.all == 0 {
		c.none.Broadcast()
	}
}

func less(m map[string]int, key string) {
	if m[key] > 1 {
		m[key]--
	} else {
		delete(m, key)
	}
}

// totals fills in what is counted here.
func (c *counts) totals(t *Totals) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Counted, t.Refused, t.Mailhosts = c.all, c.refused, maps.Clone(c.mailhosts)
}

// addressKey is what counts as one address: a client has a whole IPv6 /64.
func addressKey(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	if a = a.Unmap(); a.Is4() {
		return a.String()
	}
	return netip.PrefixFrom(a.WithZone(""), 64).Masked().String()
}
