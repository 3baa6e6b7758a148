// Package throttle remembers, for all front ends of a machine together, which client addresses failed to log
// in lately, under which account names, and how many connections of an address have not logged in yet.
//
// Where each front end is a process of its own, the memory is a file (Table): fixed tables of buckets, each
// read, changed and written under a lock on its own bytes. A process that is killed leaves nothing behind but
// an entry that expires. A process that serves all connections has the same buckets in its own memory
// (Memory), and the same rules.
//
// IPv6 clients are counted by their /64, the usual size of a customer's network, and also by their /48, since
// a customer may have a /48, which is 65,536 /64s. A /48 can take only a bounded part of one bucket, so that
// it cannot displace others. Failures, connections and names have tables of their own. Which bucket an
// address belongs to depends on a key that is made with the file, so that nobody can choose addresses which
// share a bucket with a victim's.
package throttle

import (
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"
)

// MaxConnections is the highest limit that Acquire can enforce.
const MaxConnections = perBucket / 2

// window is how long a failed login counts.
const window = 15 * time.Minute

const (
	// networkShare is how many failures of a /48 weigh as much as one of an address.
	networkShare = 8
	// networkConnections is how many times the limit of one address a /48 may have.
	networkConnections = 4
	// networkAddresses is how many addresses of a /48 are remembered one by one.
	networkAddresses = 16
	// maxCount is where a count stays.
	maxCount = 1 << 20
	// maxLifetime bounds how long a connection counts, and what is believed of a file.
	maxLifetime = 24 * time.Hour
)

// Table is the shared memory. Its methods may be called by several goroutines.
type Table struct {
	rules
	f  *os.File
	mu sync.Mutex // see locked
}

// Open opens the table at path, creating it with mode 0600. A file of an older version is emptied. A file
// that belongs to someone else than the caller, that others may write, that has a second name, or that is no
// table at all is refused.
func Open(path string) (*Table, error) {
	t, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("open throttle table %s: %w", path, err)
	}
	return t, nil
}

// Inspect says whether Open would succeed, and makes and changes nothing.
func Inspect(path string) error {
	if err := inspect(path); err != nil {
		return fmt.Errorf("throttle table %s: %w", path, err)
	}
	return nil
}

// Close closes the table. Connections that were not released expire by themselves.
func (t *Table) Close() error { return t.f.Close() }

// Acquire counts a connection of addr that has not logged in, for at most lifetime, unless limit of them are
// there already, or four times as many, or MaxConnections, of its /48. The limit is at most MaxConnections.
// release undoes it; without it the connection counts until expiry.
func (t *Table) Acquire(
	addr netip.Addr,
	limit int,
	lifetime time.Duration,
	now time.Time,
) (acquired bool, release func() error, err error) {
	who := t.whose(addr)
	e := entry{kind: kindConnection, network: who.network, address: who.address}
	e.expires = now.Add(min(lifetime, maxLifetime)).Unix()
	limit = min(limit, MaxConnections)
	err = t.change(tableConnections, who.network, now, func(b *bucket) {
		own := b.number(kindConnection, who.network, who.address)
		all := b.number(kindConnection, who.network, anyAddress)
		if own < limit && (!who.shared || all < min(networkConnections*limit, MaxConnections)) {
			b.add(e)
			acquired = true
		}
	})
	release = func() error {
		if !acquired {
			return nil
		}
		return t.change(tableConnections, who.network, now, func(b *bucket) { b.remove(e) })
	}
	return acquired, release, err
}

// Delay is what a client waits after its n-th failed login within the window: n times base, but no more than
// the highest multiple of base within limit, and at least base.
func Delay(n int, base, limit time.Duration) time.Duration {
	if base <= 0 {
		return 0
	}
	return base * time.Duration(max(1, min(int64(n), int64(limit/base))))
}
