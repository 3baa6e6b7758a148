// Package verified remembers that a stored hash was right for a password, so that a slow hash is computed
// once and not at every login (AUTH_VERIFY_CACHE). It knows no accounts: the account, and the hash that it
// has now, are still read from their database each time.
//
// What is kept is HMAC-SHA-256 with a random key of this process over the length and the bytes of the stored
// hash and the password. Key and entries are in one mapping of fixed size, which is locked into memory
// (mlock(2)) and left out of core files. An attacker who reads that memory nevertheless can try passwords at
// the speed of SHA-256.
package verified

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// MaxEntries is the most that a Cache remembers.
const MaxEntries = 100000

// The longest hash and password that are remembered, in bytes. Real hashes have some 100.
const (
	maxHash     = 1024
	maxPassword = 512
)

// The mapping begins with what HMAC needs (RFC 2104): two blocks with the key in them, after the first one
// the text, after the second one the inner hash. Buckets of entries follow.
const (
	innerAt   = 0
	textAt    = innerAt + sha256.BlockSize
	textSize  = 8 + maxHash + maxPassword
	outerAt   = (textAt + textSize + 63) / 64 * 64
	digestAt  = outerAt + sha256.BlockSize
	bucketsAt = (digestAt + sha256.Size + 63) / 64 * 64

	// An entry is an HMAC and the second of this Cache's life in which it ends; 0 = empty.
	entrySize  = sha256.Size + 8
	perBucket  = 8
	bucketSize = perBucket * entrySize
)

// Cache is what is remembered. It may be used by many goroutines at once; a nil Cache remembers nothing.
type Cache struct {
	now   func() time.Time
	began time.Time

	mu      sync.Mutex
	ttl     time.Duration
	mem     []byte // nil when closed
	buckets uint64
	// era counts the times that everything was forgotten.
	era int
}

// New returns a Cache whose entries live for ttl. It has room for MaxEntries, or for as many as the process
// may lock memory for (RLIMIT_MEMLOCK): see Entries. The error says that there is too little memory for a
// useful cache.
func New(ttl time.Duration, now func() time.Time) (*Cache, error) {
	return newCache(MaxEntries, ttl, now)
}

// newCache is New with another number of entries.
func newCache(most int, ttl time.Duration, now func() time.Time) (*Cache, error) {
	c := &Cache{now: now, began: now(), ttl: ttl}
	var err error
	for entries := most; entries >= most/100; entries /= 2 {
		if c.mem, err = lockedMemory(bucketsAt + entries/perBucket*bucketSize); err == nil {
			c.buckets = uint64(entries / perBucket)
			c.newKey()
			return c, nil
		}
	}
	var limit unix.Rlimit
	if lerr := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); lerr == nil {
		err = fmt.Errorf("%w (RLIMIT_MEMLOCK is %d bytes)", err, limit.Cur)
	}
	return nil, err
}

// lockedMemory maps size bytes that are neither swapped nor in a core file, nor any child's.
func lockedMemory(size int) ([]byte, error) {
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	err = os.NewSyscallError("mlock", unix.Mlock(mem))
	err = errors.Join(err, os.NewSyscallError("madvise", unix.Madvise(mem, unix.MADV_DONTDUMP)))
	err = errors.Join(err, os.NewSyscallError("madvise", unix.Madvise(mem, unix.MADV_DONTFORK)))
	if err != nil {
		_ = unix.Munmap(mem)
		return nil, err
	}
	return mem, nil
}

// newKey makes a random key and writes its two blocks.
func (c *Cache) newKey() {
	inner, outer := c.mem[innerAt:textAt], c.mem[outerAt:digestAt]
	_, _ = rand.Read(inner) // never fails: it ends the process instead
	for i := range inner {
		outer[i] = inner[i] ^ 0x5c
		inner[i] ^= 0x36
	}
}

// Entries is how many the Cache has room for.
func (c *Cache) Entries() int {
	if c == nil {
		return 0
	}
	return int(c.buckets) * perBucket
}

// Forget forgets everything, the key included. What was begun before is not remembered.
func (c *Cache) Forget() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
}

// Reset is Forget; from then on entries live for ttl.
func (c *Cache) Reset(ttl time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ttl = ttl
	c.forget()
}

// forget is Forget under the lock.
func (c *Cache) forget() {
	c.era++
	if c.mem != nil {
		clear(c.mem)
		c.newKey()
	}
}

// Close forgets everything and gives the memory back. The Cache remembers nothing from then on.
func (c *Cache) Close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mem != nil {
		clear(c.mem)
		_ = unix.Munmap(c.mem)
		c.mem = nil
	}
}

// Verify tells whether a password is right for a stored hash: known says that it was, lately. Otherwise it
// returns what compute does, and remembers it if that is yes. Nothing is remembered of other passwords.
func (c *Cache) Verify(hash, password string, compute func() (bool, error)) (match, known bool, err error) {
	era := 0
	if c != nil {
		if known, era = c.find(hash, password); known {
			return true, true, nil
		}
	}
	match, err = compute()
	if match && err == nil && c != nil {
		c.add(hash, password, era)
	}
	return match, false, err
}

// find looks for an entry.
func (c *Cache) find(hash, password string) (known bool, era int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.takes(hash, password) {
		return false, c.era
	}
	sum, now := c.sum(hash, password), c.second()
	for entry := range c.bucket(sum) {
		if until(entry) > now && subtle.ConstantTimeCompare(entry[:sha256.Size], sum[:]) == 1 {
			return true, c.era
		}
	}
	return false, c.era
}

// add remembers an entry, in the place of one that is over, or of the one that would be over first.
func (c *Cache) add(hash, password string, era int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if era != c.era || !c.takes(hash, password) {
		return
	}
	sum := c.sum(hash, password)
	var place []byte
	for entry := range c.bucket(sum) {
		if subtle.ConstantTimeCompare(entry[:sha256.Size], sum[:]) == 1 {
			place = entry
			break
		}
		if place == nil || until(entry) < until(place) {
			place = entry
		}
	}
	copy(place, sum[:])
	binary.LittleEndian.PutUint64(place[sha256.Size:], c.second()+uint64(c.ttl/time.Second))
}

// takes tells whether there is memory, and room in it for these two.
func (c *Cache) takes(hash, password string) bool {
	return c.mem != nil && len(hash) <= maxHash && len(password) <= maxPassword
}

// sum is the HMAC-SHA-256 of a hash's length, the hash and the password. It is made where the key is: package
// crypto/hmac would have copies of it in memory that is not locked.
func (c *Cache) sum(hash, password string) (sum [sha256.Size]byte) {
	text := c.mem[innerAt:textAt]
	text = binary.LittleEndian.AppendUint64(text, uint64(len(hash)))
	text = append(append(text, hash...), password...)
	inner := sha256.Sum256(text)
	clear(text[textAt:])
	copy(c.mem[digestAt:], inner[:])
	return sha256.Sum256(c.mem[outerAt : digestAt+sha256.Size])
}

// bucket yields the entries among which that of sum is.
func (c *Cache) bucket(sum [sha256.Size]byte) func(yield func([]byte) bool) {
	at := bucketsAt + int(binary.LittleEndian.Uint64(sum[:])%c.buckets)*bucketSize
	return func(yield func([]byte) bool) {
		for i := range perBucket {
			if !yield(c.mem[at+i*entrySize:][:entrySize:entrySize]) {
				return
			}
		}
	}
}

// until is the second in which an entry ends.
func until(entry []byte) uint64 { return binary.LittleEndian.Uint64(entry[sha256.Size:]) }

// second counts the seconds of the Cache's life, from 1: steps of the clock do not matter.
func (c *Cache) second() uint64 { return uint64(c.now().Sub(c.began)/time.Second) + 1 }
