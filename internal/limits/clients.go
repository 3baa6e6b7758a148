// Package limits bounds the resources that clients can take before login in a process that serves many:
// connections (Clients), file descriptors (Capacity), and processor time for TLS handshakes (Handshakes).
package limits

import (
	"net/netip"
	"sync"
)

// Clients counts connections that have not logged in, by address. An IPv6 /64, the usual size of a customer's
// network, counts as one address; a /48, which a customer may have too, has networkShare times the limit.
// Memory grows with the number of connections.
type Clients struct {
	mu sync.Mutex
	of map[netip.Prefix]int
}

// networkShare is how many times the limit of an address an IPv6 /48 has. In package throttle, which
// counts failures, it is another number.
const networkShare = 4

// NewClients returns a Clients that has counted nothing.
func NewClients() *Clients { return &Clients{of: map[netip.Prefix]int{}} }

// Acquire counts one more connection of addr, unless its address has max of them, or its network as many as
// it may then. release takes it off again; calls after the first do nothing.
func (c *Clients) Acquire(addr netip.Addr, max int) (release func(), ok bool) {
	address, network := prefixes(addr)
	c.mu.Lock()
	defer c.mu.Unlock()
	shared := network != address
	if c.of[address] >= max || shared && c.of[network] >= networkShare*max {
		return func() {}, false
	}
	c.of[address]++
	if shared {
		c.of[network]++
	}
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.less(address)
		if shared {
			c.less(network)
		}
	}), true
}

func (c *Clients) less(p netip.Prefix) {
	if c.of[p]--; c.of[p] == 0 {
		delete(c.of, p)
	}
}

// prefixes returns what counts as one address, and the network that it is in: the same for IPv4.
func prefixes(addr netip.Addr) (address, network netip.Prefix) {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		address = netip.PrefixFrom(addr, 32)
		return address, address
	}
	return netip.PrefixFrom(addr, 64).Masked(), netip.PrefixFrom(addr, 48).Masked()
}
