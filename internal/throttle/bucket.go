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
	e.expires = now.Add(Window).Unix()
}

type bucket [perBucket]entry

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

// add puts an entry into a free place. When there is none, that with the lowest count makes room, of several
// the one that expires first: who has failed often is not forgotten because many others fail once.
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

// decode reads a bucket. What has expired, and what no front end can have written, is left out.
func (b *bucket) decode(raw *[bucketSize]byte, now time.Time) {
	for i := range b {
		p := raw[i*entrySize:]
		e := entry{
			network: binary.LittleEndian.Uint64(p),
			address: binary.LittleEndian.Uint64(p[8:]),
			expires: int64(binary.LittleEndian.Uint64(p[16:])),
			count:   binary.LittleEndian.Uint32(p[24:]),
			kind:    kind(binary.LittleEndian.Uint32(p[28:])),
		}
		longest := Window
		if e.kind == kindConnection {
			longest = maxLifetime
		}
		if e.kind > kindConnection || e.expires <= now.Unix() || e.expires > now.Add(longest).Unix() ||
			e.count > maxCount+1 {
			e = entry{}
		}
		b[i] = e
	}
}

func (b *bucket) encode(raw *[bucketSize]byte) {
	for i := range b {
		p := raw[i*entrySize:]
		binary.LittleEndian.PutUint64(p, b[i].network)
		binary.LittleEndian.PutUint64(p[8:], b[i].address)
		binary.LittleEndian.PutUint64(p[16:], uint64(b[i].expires))
		binary.LittleEndian.PutUint32(p[24:], b[i].count)
		binary.LittleEndian.PutUint32(p[28:], uint32(b[i].kind))
	}
}
