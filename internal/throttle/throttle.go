// Package throttle remembers, for all front ends of a machine together, which client addresses failed to log
// in lately, under which account names, and how many connections of an address have not logged in yet.
//
// Each front end is a process of its own, so the memory is a file: fixed tables of buckets, each read,
// changed and written under a lock on its own bytes. A process that is killed leaves nothing behind but an
// entry that expires.
//
// IPv6 clients are counted by their /64, which is what one customer is given, and a second time by their /48,
// which one customer may be given too: who has a /48 has 65536 of the former. Whatever a /48 does takes a
// bounded part of one bucket, so that it pushes nobody else out. Failures, connections and names have tables
// of their own. Which bucket an address belongs to depends on a key that is made with the file, so that
// nobody can choose addresses which share a bucket with a victim's.
package throttle

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// MaxConnections is the highest limit that Enter can enforce.
const MaxConnections = perBucket / 2

// Window is how long a failed login counts.
const Window = 15 * time.Minute

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
	f   *os.File
	mu  sync.Mutex // see locked
	key [keySize]byte
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

// Close closes the table. Connections that were not left expire by themselves.
func (t *Table) Close() error { return t.f.Close() }

// Failed counts one more failed login of addr and returns what Delay makes a delay of: how many there were
// within Window, this one included; or an eighth of those of its /48, where that is more.
func (t *Table) Failed(addr netip.Addr, now time.Time) (int, error) {
	who, n := t.whose(addr), uint32(0)
	err := t.change(tableFailures, who.network, now, func(b *bucket) {
		network := b.find(kindNetwork, who.network, 0)
		if who.shared {
			if network == nil {
				network = b.add(entry{kind: kindNetwork, network: who.network})
			}
			network.more(now)
			n = network.count / networkShare
		}
		own := b.find(kindAddress, who.network, who.address)
		if own == nil && (!who.shared || b.number(kindAddress, who.network, anyAddress) < networkAddresses) {
			own = b.add(entry{kind: kindAddress, network: who.network, address: who.address})
		}
		if own != nil {
			own.more(now)
			n = max(n, own.count)
		}
		n = max(n, 1)
	})
	return int(n), err
}

// FailedName counts one more failed login under an account name, from anywhere, and returns how many there
// were within Window. Upper and lower case are one name.
func (t *Table) FailedName(name string, now time.Time) (int, error) {
	id, n := t.hash(domainName, []byte(strings.ToLower(name))), uint32(0)
	err := t.change(tableNames, id, now, func(b *bucket) {
		e := b.find(kindName, id, 0)
		if e == nil {
			e = b.add(entry{kind: kindName, network: id})
		}
		e.more(now)
		n = e.count
	})
	return int(n), err
}

// Enter counts a connection of addr that has not logged in, for at most lifetime, unless limit of them are
// there already, or four times as many, or MaxConnections, of its /48. The limit is at most MaxConnections.
// Leave undoes it; without Leave the connection counts until expiry.
func (t *Table) Enter(
	addr netip.Addr,
	limit int,
	lifetime time.Duration,
	now time.Time,
) (entered bool, leave func() error, err error) {
	who := t.whose(addr)
	e := entry{kind: kindConnection, network: who.network, address: who.address}
	e.expires = now.Add(min(lifetime, maxLifetime)).Unix()
	limit = min(limit, MaxConnections)
	err = t.change(tableConnections, who.network, now, func(b *bucket) {
		own, all := b.number(
			kindConnection,
			who.network,
			who.address,
		), b.number(
			kindConnection,
			who.network,
			anyAddress,
		)
		if own < limit && (!who.shared || all < min(networkConnections*limit, MaxConnections)) {
			b.add(e)
			entered = true
		}
	})
	leave = func() error {
		if !entered {
			return nil
		}
		return t.change(tableConnections, who.network, now, func(b *bucket) { b.remove(e) })
	}
	return entered, leave, err
}

// Delay is what a client waits after its n-th failed login within Window: n times base, but no more than the
// highest multiple of base within limit, and at least base.
func Delay(n int, base, limit time.Duration) time.Duration {
	if base <= 0 {
		return 0
	}
	return base * time.Duration(max(1, min(int64(n), int64(limit/base))))
}

// owner is who an entry belongs to.
type owner struct {
	network, address uint64
	// shared says that the network has many addresses: IPv6.
	shared bool
}

// whose returns the owner of an address: IPv4 as it is, of IPv6 the first 48 and 64 bits.
func (t *Table) whose(addr netip.Addr) owner {
	addr = addr.Unmap()
	if addr.Is4() {
		bytes := addr.As4()
		id := t.hash(domainIPv4, bytes[:])
		return owner{network: id, address: id}
	}
	bytes := addr.As16()
	return owner{network: t.hash(domainNetwork, bytes[:6]), address: t.hash(domainIPv6, bytes[:8]), shared: true}
}
