package throttle

import (
	"crypto/rand"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Memory is a Table for the failures that one process sees, in its own memory: 2 KB for each bucket that is
// in use, 4 MB at most. It does not count connections. MarshalBinary returns its content for the process's
// successor. Unlike a Table, which outlives processes, it does not depend on the clock's setting: failures
// expire by elapsed time.
type Memory struct {
	rules rules
	tables
	now   func() time.Time
	began time.Time
}

var (
	_ encoding.BinaryMarshaler   = (*Memory)(nil)
	_ encoding.BinaryUnmarshaler = (*Memory)(nil)
)

// NewMemory returns an empty memory with a key of its own. now is the clock, which has a monotonic reading.
func NewMemory(now func() time.Time) *Memory {
	m := &Memory{now: now, began: now()}
	rand.Read(m.rules.key[:])
	m.rules.buckets = &m.tables
	return m
}

// Failed is as of Table.
func (m *Memory) Failed(addr netip.Addr, now time.Time) (int, error) {
	return m.rules.Failed(addr, m.steady(now))
}

// FailedName is as of Table.
func (m *Memory) FailedName(name string, now time.Time) (int, error) {
	return m.rules.FailedName(name, m.steady(now))
}

// steady is a time that goes on by what passes, in place of what the clock shows.
func (m *Memory) steady(now time.Time) time.Time { return time.Unix(0, 0).Add(now.Sub(m.began)) }

// tables are the buckets: nil until something is in them.
type tables struct {
	mu  sync.Mutex
	all [tableNames + 1][buckets]*bucket
}

// change never fails.
func (t *tables) change(in tableKind, id uint64, now time.Time, do func(b *bucket)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.bucket(in, bucketNumber(id))
	b.expire(now)
	do(b)
	return nil
}

// bucket returns one, new if need be. The mutex is locked.
func (t *tables) bucket(in tableKind, at int) *bucket {
	if t.all[in][at] == nil {
		t.all[in][at] = new(bucket)
	}
	return t.all[in][at]
}

// What MarshalBinary returns: 8 bytes memoryMagic, the key, and for each entry 8 bytes of its table and the
// entry as in the file, with the seconds for which it still counts in place of the time of its expiry.
const (
	memoryMagic = "MPthrom2"
	memoryEntry = 8 + entrySize
)

// errNoMemory says that bytes are not those of MarshalBinary, of this version.
var errNoMemory = errors.New("no failed logins of this version")

// MarshalBinary returns what is remembered.
func (m *Memory) MarshalBinary() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.steady(m.now())
	out := append([]byte(memoryMagic), m.rules.key[:]...)
	for in := range m.all {
		for _, b := range m.all[in] {
			if b != nil {
				out = b.appendTo(out, tableKind(in), now)
			}
		}
	}
	return out, nil
}

func (b *bucket) appendTo(out []byte, in tableKind, now time.Time) []byte {
	for _, e := range b {
		if e.kind == kindUnused || !e.isValid(now) {
			continue
		}
		e.expires -= now.Unix()
		var raw [memoryEntry]byte
		binary.LittleEndian.PutUint64(raw[:], uint64(in))
		e.encode(raw[8:])
		out = append(out, raw[:]...)
	}
	return out
}

// UnmarshalBinary replaces what is remembered by what MarshalBinary returned in another process. After an
// error the memory is as it was. It must not run beside other methods.
func (m *Memory) UnmarshalBinary(data []byte) error {
	const header = len(memoryMagic) + keySize
	if len(data) < header || string(data[:len(memoryMagic)]) != memoryMagic ||
		(len(data)-header)%memoryEntry != 0 {
		return errNoMemory
	}
	var read tables
	now := m.steady(m.now())
	for p := data[header:]; len(p) > 0; p = p[memoryEntry:] {
		in := binary.LittleEndian.Uint64(p)
		if in >= uint64(len(read.all)) {
			return fmt.Errorf("%w: table %d", errNoMemory, in)
		}
		var e entry
		e.decode(p[8:])
		if e.expires > int64(maxLifetime/time.Second) {
			continue // nobody has written that, and the sum might be too large
		}
		e.expires += now.Unix()
		read.bucket(tableKind(in), bucketNumber(e.network)).add(e) // what has expired is left out when it is used
	}
	copy(m.rules.key[:], data[len(memoryMagic):])
	m.all = read.all
	return nil
}
