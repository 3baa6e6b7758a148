package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"sync"
	"time"

	"mailproxy/authlib"
)

// maxCached bounds the number of remembered answers.
const maxCached = 50000

// cache remembers successful answers for a while (AUTH_CACHE_TTL). Its keys are keyed hashes of the whole question, with a
// secret that dies with the process; clear passwords are not in it.
type cache struct {
	ttl    time.Duration
	now    func() time.Time
	secret [32]byte

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

func newCache(ttl time.Duration, now func() time.Time) *cache {
	c := &cache{ttl: ttl, now: now, answers: make(map[[32]byte]cached)}
	// crypto/rand.Read never fails: it ends the process instead.
	_, _ = rand.Read(c.secret[:])
	return c
}

// key returns the key of a question, and the era in which it was asked.
func (c *cache) key(parts ...string) (key [32]byte, era int) {
	mac := hmac.New(sha256.New, c.secret[:])
	var length [4]byte
	for _, p := range parts {
		length = [4]byte{byte(len(p)), byte(len(p) >> 8), byte(len(p) >> 16), byte(len(p) >> 24)}
		mac.Write(length[:])
		mac.Write([]byte(p))
	}
	mac.Sum(key[:0])
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

// put remembers an answer, unless everything was forgotten since the question was asked, or the answer holds a clear
// password other than that of the question.
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

// clear forgets everything: a password has changed, and the same account may have been asked for under several names.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.era++
	clear(c.answers)
}
