package throttle

import (
	"encoding/binary"
	"time"
)

const (
	perBucket  = 64 // entries
	entrySize  = 32
	bucketSize = perBucket * entrySize
)

// entry is one count. In the file, little-endian: 8 bytes network, 8 bytes address, 8 bytes expiry (Unix
// seconds), 4 bytes count, 4 bytes kind.
type entry struct {
	network, address uint64 // keyed hashes, see Table.whose
	expires          int64
	count            uint32
	kind             kind
}

type kind uint32

const (
	kindUnused kind = iota
	kindAddress
	kindNetwork
	kindName
	kindConnection
)

// anyAddress in place of an address means all of a network. No address has it, see Table.hash.
const anyAddress = 0

// more counts one more failure.
func (e *entry) more(now time.Time) {
	e.count = min(e.count, maxCount) + 1
	e.expires = now.Add(window).Unix()
}

// isValid says whether an entry still counts, and is one that a front end can have written.
func (e *entry) isValid(now time.Time) bool {
	longest := window
	if e.kind == kindConnection {
		longest = maxLifetime
	}
	return e.kind <= kindConnection && e.expires > now.Unix() && e.expires <= now.Add(longest).Unix() &&
		e.count <= maxCount+1
}

type bucket [perBucket]entry

// expire takes out what is not valid.
func (b *bucket) expire(now time.Time) {
	for i := range b {
		if !b[i].isValid(now) {
			b[i] = entry{}
		}
	}
}

// find returns the entry, or nil.
func (b *bucket) find(k kind, network, address uint64) *entry {
	for i := range b {
		if b[i].kind == k && b[i].network == network && b[i].address == address {
			return &b[i]
		}
	}
	return nil
}

// number counts the entries of an address, or of all addresses of a network.
func (b *bucket) number(k kind, network, address uint64) int {
	n := 0
	for i := range b {
		if b[i].kind == k && b[i].network == network && (address == anyAddress || b[i].address == address) {
			n++
		}
	}
	return n
}

// add puts an entry into a free slot. If the bucket is full, add replaces the entry with the lowest count
// and, among equals, the earliest expiry: many clients that fail once do not displace one that has failed
// often.
func (b *bucket) add(e entry) *entry {
	place := &b[0]
	for i := range b {
		if b[i].kind == kindUnused {
			place = &b[i]
			break
		}
		if b[i].count < place.count || b[i].count == place.count && b[i].expires < place.expires {
			place = &b[i]
		}
	}
	*place = e
	return place
}

// remove takes one entry like e out.
func (b *bucket) remove(e entry) {
	for i := range b {
		if b[i] == e {
			b[i] = entry{}
			return
		}
	}
}

// decode reads a bucket. What is not valid is left out.
func (b *bucket) decode(raw *[bucketSize]byte, now time.Time) {
	for i := range b {
		b[i].decode(raw[i*entrySize:])
	}
	b.expire(now)
}

func (b *bucket) encode(raw *[bucketSize]byte) {
	for i := range b {
		b[i].encode(raw[i*entrySize:])
	}
}

func (e *entry) decode(p []byte) {
	e.network = binary.LittleEndian.Uint64(p)
	e.address = binary.LittleEndian.Uint64(p[8:])
	e.expires = int64(binary.LittleEndian.Uint64(p[16:]))
	e.count = binary.LittleEndian.Uint32(p[24:])
	e.kind = kind(binary.LittleEndian.Uint32(p[28:]))
}

func (e *entry) encode(p []byte) {
	binary.LittleEndian.PutUint64(p, e.network)
	binary.LittleEndian.PutUint64(p[8:], e.address)
	binary.LittleEndian.PutUint64(p[16:], uint64(e.expires))
	binary.LittleEndian.PutUint32(p[24:], e.count)
	binary.LittleEndian.PutUint32(p[28:], uint32(e.kind))
}
