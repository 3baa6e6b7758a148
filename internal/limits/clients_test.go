package limits

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
)

func TestClients(t *testing.T) {
	for _, test := range []struct {
		name          string
		first, second string
		refused       bool
	}{
		{"same address", "192.0.2.7", "192.0.2.7", true},
		{"mapped", "192.0.2.7", "::ffff:192.0.2.7", true},
		{"neighbour", "192.0.2.7", "192.0.2.8", false},
		{"same /64", "2001:db8:1:2::1", "2001:db8:1:2:ffff::1", true},
		{"zone", "fe80::1%eth0", "fe80::1%eth1", true},
		{"another /64", "2001:db8:1:2::1", "2001:db8:1:3::1", false},
	} {
		c := NewClients()
		release, ok := c.Acquire(netip.MustParseAddr(test.first), 1)
		if !ok {
			t.Fatalf("%s: the first was refused", test.name)
		}
		if _, ok := c.Acquire(netip.MustParseAddr(test.second), 1); ok == test.refused {
			t.Errorf("%s: entered %v", test.name, ok)
		}
		release()
		release()
		if _, ok := c.Acquire(netip.MustParseAddr(test.second), 1); !ok && test.refused {
			t.Errorf("%s: refused after the first has left", test.name)
		}
	}
}

// A /48 has four times as many connections as an address, and nothing is remembered of those that have left.
func TestClientsNetwork(t *testing.T) {
	c := NewClients()
	var releases []func()
	for i := range 50 {
		if release, ok := c.Acquire(netip.MustParseAddr(fmt.Sprintf("2001:db8:1:%x::1", i)), 3); ok {
			releases = append(releases, release)
		}
	}
	if len(releases) != 3*networkShare {
		t.Errorf("%d connections of a /48, want %d", len(releases), 3*networkShare)
	}
	if _, ok := c.Acquire(netip.MustParseAddr("2001:db8:2::1"), 3); !ok {
		t.Error("another /48 was refused")
	}
	if release, ok := c.Acquire(netip.MustParseAddr("2001:db8:1::1"), 1<<24); !ok {
		t.Error("one beyond the limit, where there is none, was refused")
	} else {
		releases = append(releases, release)
	}
	for _, release := range releases {
		release()
	}
	if len(c.of) != 2 {
		t.Errorf("%d addresses and networks are remembered, want 2", len(c.of))
	}
}

func TestClientsConcurrent(t *testing.T) {
	c := NewClients()
	addr := netip.MustParseAddr("192.0.2.7")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 1000 {
				if release, ok := c.Acquire(addr, 4); ok {
					release()
				}
			}
		})
	}
	wg.Wait()
	if len(c.of) != 0 {
		t.Errorf("left over: %v", c.of)
	}
}
