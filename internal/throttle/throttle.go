// Package throttle remembers, for all front ends of a machine together, which client addresses failed to log in lately
// and how many of their connections have not logged in yet.
//
// Each front end is a process of its own, so the memory is a file: a fixed table of buckets, each read, changed and
// written under a lock on its own bytes. A process that is killed leaves nothing behind but an entry that expires.
// IPv6 clients are counted by their /64, which is what one customer is given.
package throttle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	buckets    = 1024
	perBucket  = 64 // entries; when all are in use the one that expires first makes room
	entrySize  = 32
	bucketSize = perBucket * entrySize
)

// MaxConnections is the highest limit that Enter can enforce.
const MaxConnections = perBucket / 2

// Window is how long a failed login counts.
const Window = 15 * time.Minute

// Entry layout, little-endian: 16 bytes address, 8 bytes expiry (Unix seconds), 4 bytes count, 4 bytes kind.
type entry struct {
	addr    [16]byte
	expires int64
	count   uint32
	kind    kind
}

type kind uint32

const (
	unused kind = iota
	failures
	connection
)

// Table is the shared memory. Its methods may be called by several goroutines.
type Table struct{ f *os.File }

// Open opens the table at path, creating it with mode 0600. A file that belongs to someone else than the caller, or
// that others may write, is refused: they could lock out addresses of their choice.
func Open(path string) (*Table, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open throttle table: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, fmt.Errorf("open throttle table %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() || fs.FileMode(st.Mode)&0o022 != 0 {
		f.Close()
		return nil, fmt.Errorf("open throttle table %s: it must be a file of uid %d that nobody else may write", path, os.Geteuid())
	}
	return &Table{f: f}, nil
}

// Close closes the table. Connections that were not left expire by themselves.
func (t *Table) Close() error { return t.f.Close() }

// Failed counts one more failed login of addr and returns how many there were within Window, this one included.
func (t *Table) Failed(addr netip.Addr, now time.Time) (int, error) {
	n := uint32(0)
	err := t.change(addr, func(b *bucket, key [16]byte) {
		e := b.find(key, failures, now)
		if e == nil {
			e = b.room(now)
			*e = entry{addr: key, kind: failures}
		}
		if e.count < 1<<20 {
			e.count++
		}
		e.expires = now.Add(Window).Unix()
		n = e.count
	})
	return int(n), err
}

// Failures returns how many logins of addr failed within Window.
func (t *Table) Failures(addr netip.Addr, now time.Time) (int, error) {
	n := uint32(0)
	err := t.change(addr, func(b *bucket, key [16]byte) {
		if e := b.find(key, failures, now); e != nil {
			n = e.count
		}
	})
	return int(n), err
}

// Enter counts a connection of addr that has not logged in, for at most lifetime, unless limit of them are there
// already. The limit is at most MaxConnections. Leave undoes it; without Leave the connection counts until expiry.
func (t *Table) Enter(addr netip.Addr, limit int, lifetime time.Duration, now time.Time) (entered bool, leave func() error, err error) {
	expires := now.Add(lifetime).Unix()
	err = t.change(addr, func(b *bucket, key [16]byte) {
		n := 0
		for i := range b {
			if b[i].kind == connection && b[i].addr == key && b[i].expires > now.Unix() {
				n++
			}
		}
		if n < min(limit, MaxConnections) {
			*b.room(now) = entry{addr: key, kind: connection, expires: expires}
			entered = true
		}
	})
	leave = func() error {
		if !entered {
			return nil
		}
		return t.change(addr, func(b *bucket, key [16]byte) {
			for i := range b {
				if b[i].kind == connection && b[i].addr == key && b[i].expires == expires {
					b[i] = entry{}
					return
				}
			}
		})
	}
	return entered, leave, err
}

// Delay is what a client waits after its n-th failed login within Window: n times base, at most limit.
func Delay(n int, base, limit time.Duration) time.Duration {
	if n < 1 {
		n = 1
	}
	if n > int(limit/max(base, 1)) {
		return max(base, limit)
	}
	return time.Duration(n) * base
}

// change reads the bucket of addr, lets do change it, and writes it back, all under the bucket's lock.
func (t *Table) change(addr netip.Addr, do func(b *bucket, key [16]byte)) error {
	key := keyOf(addr)
	h := fnv.New32a()
	h.Write(key[:])
	offset := int64(h.Sum32()%buckets) * bucketSize
	// Open file description locks, unlike flock, cover a range, and unlike fcntl's older locks are not shared by the
	// process's other descriptors of the file.
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: offset, Len: bucketSize}
	if err := fcntlLock(t.f.Fd(), unix.F_OFD_SETLKW, &lock); err != nil {
		return fmt.Errorf("lock throttle table %s: %w", t.f.Name(), err)
	}
	defer func() {
		lock.Type = unix.F_UNLCK
		_ = fcntlLock(t.f.Fd(), unix.F_OFD_SETLK, &lock) // closing the file unlocks as well
	}()
	var raw, before [bucketSize]byte
	if _, err := t.f.ReadAt(raw[:], offset); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read throttle table: %w", err)
	}
	before = raw
	var b bucket
	b.decode(&raw)
	do(&b, key)
	b.encode(&raw)
	if raw == before {
		return nil
	}
	if _, err := t.f.WriteAt(raw[:], offset); err != nil {
		return fmt.Errorf("write throttle table: %w", err)
	}
	return nil
}

func fcntlLock(fd uintptr, cmd int, lock *unix.Flock_t) error {
	for {
		if err := unix.FcntlFlock(fd, cmd, lock); err != unix.EINTR {
			return err
		}
	}
}

// keyOf is the address that entries are kept under: IPv4 as it is, of IPv6 the first 64 bits.
func keyOf(addr netip.Addr) [16]byte {
	addr = addr.Unmap()
	key := addr.As16()
	if addr.Is6() {
		clear(key[8:])
	}
	return key
}

type bucket [perBucket]entry

// find returns the live entry of that kind, or nil.
func (b *bucket) find(key [16]byte, k kind, now time.Time) *entry {
	for i := range b {
		if b[i].kind == k && b[i].addr == key && b[i].expires > now.Unix() {
			return &b[i]
		}
	}
	return nil
}

// room returns a free or expired entry, else the one that expires first.
func (b *bucket) room(now time.Time) *entry {
	first := &b[0]
	for i := range b {
		if b[i].kind == unused || b[i].expires <= now.Unix() {
			return &b[i]
		}
		if b[i].expires < first.expires {
			first = &b[i]
		}
	}
	return first
}

func (b *bucket) decode(raw *[bucketSize]byte) {
	for i := range b {
		p := raw[i*entrySize:]
		copy(b[i].addr[:], p)
		b[i].expires = int64(binary.LittleEndian.Uint64(p[16:]))
		b[i].count = binary.LittleEndian.Uint32(p[24:])
		b[i].kind = kind(binary.LittleEndian.Uint32(p[28:]))
	}
}

func (b *bucket) encode(raw *[bucketSize]byte) {
	for i := range b {
		p := raw[i*entrySize:]
		copy(p, b[i].addr[:])
		binary.LittleEndian.PutUint64(p[16:], uint64(b[i].expires))
		binary.LittleEndian.PutUint32(p[24:], b[i].count)
		binary.LittleEndian.PutUint32(p[28:], uint32(b[i].kind))
	}
}
