package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"sync"
	"time"

	"mailproxy/authlib"
)

// maxCached bounds the number of remembered answers.
const maxCached = 50000

// cache remembers successful answers for a while (AUTH_CACHE_TTL). Its keys are keyed hashes of the whole
// question, with a secret that dies with the process; clear passwords are not in it.
type cache struct {
	ttl time.Duration
	now func() time.Time
	// hashers holds *hasher for later use, all with one secret of this process.
	hashers sync.Pool

	mu      sync.Mutex
	era     int // counts the times that everything was forgotten
	answers map[[32]byte]cached
}

// cached is one answer.
type cached struct {
	account authlib.Account
	module  string
	// clear tells that the account's clear password was the one in the question.
	clear bool
	until time.Time
}

// newCache returns an empty cache whose answers live for ttl.
func newCache(ttl time.Duration, now func() time.Time) *cache {
	var secret [32]byte
	// crypto/rand.Read never fails: it ends the process instead.
	_, _ = rand.Read(secret[:])
	c := &cache{ttl: ttl, now: now, answers: make(map[[32]byte]cached)}
	c.hashers.New = func() any { return &hasher{mac: hmac.New(sha256.New, secret[:])} }
	return c
}

// hasher makes keys.
type hasher struct {
	mac      hash.Hash
	question []byte
	key      [32]byte
}

// sum returns the keyed hash of a question.
func (h *hasher) sum(parts []string) [32]byte {
	h.question = h.question[:0]
	for _, p := range parts {
		h.question = append(binary.LittleEndian.AppendUint32(h.question, uint32(len(p))), p...)
	}
	h.mac.Reset()
	h.mac.Write(h.question)
	clear(h.question) // there is a password in it
	h.mac.Sum(h.key[:0])
	return h.key
}

// key returns the key of a question, and the era in which it was asked.
func (c *cache) key(parts ...string) (key [32]byte, era int) {
	h := c.hashers.Get().(*hasher)
	key = h.sum(parts)
	c.hashers.Put(h)
	c.mu.Lock()
	defer c.mu.Unlock()
	return key, c.era
}

// get returns a remembered answer to a question with that clear password.
func (c *cache) get(key [32]byte, clear string) (*authlib.Account, string, bool) {
	c.mu.Lock()
	hit, ok := c.answers[key]
	c.mu.Unlock()
	if !ok || !c.now().Before(hit.until) {
		return nil, "", false
	}
	account := hit.account
	if hit.clear {
		account.ClearPassword = clear
	}
	return &account, hit.module, true
}

// put remembers an answer, unless everything was forgotten since the question was asked, or the answer holds
// a clear password other than that of the question.
func (c *cache) put(key [32]byte, era int, account *authlib.Account, module, clear string) {
	answer := cached{account: *account, module: module, until: c.now().Add(c.ttl)}
	if account.ClearPassword != "" {
		if subtle.ConstantTimeCompare([]byte(account.ClearPassword), []byte(clear)) != 1 {
			return
		}
		answer.clear = true
		answer.account.ClearPassword = ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if era != c.era {
		return
	}
	if len(c.answers) >= maxCached {
		c.shrink()
	}
	c.answers[key] = answer
}

// shrink forgets what is over, or else some of the rest.
func (c *cache) shrink() {
	now := c.now()
	for key, answer := range c.answers {
		if !now.Before(answer.until) {
			delete(c.answers, key)
		}
	}
	for key := range c.answers {
		if len(c.answers) < maxCached*3/4 {
			return
		}
		delete(c.answers, key)
	}
}

// clear forgets everything: a password has changed, and the same account may have been asked for under
// several names.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.era++
	clear(c.answers)
}
