package main

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"mailproxy/authlib/password"
	"mailproxy/authlib/verified"
	"mailproxy/internal/maillog"
)

// hashes computes slow hashes: as many at once as there are processors, and none twice where
// AUTH_VERIFY_CACHE remembers what was right. A request gives its slot back before it waits for one, so that
// requests that need none pass it, however many others there are. It outlives a reload.
type hashes struct {
	log *maillog.Log
	now func() time.Time
	// verify is password.Verify.
	verify     func(hash, clear string) (bool, error)
	processors chan struct{}
	waiting    atomic.Int64
	// cache is nil where nothing is remembered.
	cache atomic.Pointer[verified.Cache]
	// computed and remembered count answers about slow hashes.
	computed, remembered *metrics.Counter
}

// errHashesBusy says that a slow hash was not computed in time. It is no module's failure.
var errHashesBusy = errors.New("too many slow password hashes to compute")

// newHashes returns one that remembers nothing yet.
func newHashes(log *maillog.Log, now func() time.Time) *hashes {
	return &hashes{log: log, now: now, verify: password.Verify,
		processors: make(chan struct{}, runtime.GOMAXPROCS(0)),
		computed:   new(metrics.Counter), remembered: new(metrics.Counter)}
}

// forget forgets what was right.
func (h *hashes) forget() { h.cache.Load().Forget() }

// remember forgets everything and remembers from now on for ttl, or not at all when that is 0. What memory
// there is for it is in the log.
func (h *hashes) remember(ttl time.Duration) {
	c := h.cache.Load()
	switch {
	case ttl == 0:
		h.cache.Store(nil)
		c.Close()
		return
	case c != nil:
		c.Reset(ttl)
		return
	}
	c, err := verified.New(ttl, h.now)
	switch {
	case err != nil:
		h.log.Warnf("AUTH_VERIFY_CACHE: no memory can be locked, slow hashes are computed at each login: %v; see "+
			"LimitMEMLOCK=, ulimit -l", err)
		return
	case c.Entries() < verified.MaxEntries:
		h.log.Warnf("AUTH_VERIFY_CACHE: room for %d passwords in the place of %d, as RLIMIT_MEMLOCK is too small; "+
			"see LimitMEMLOCK=, ulimit -l", c.Entries(), verified.MaxEntries)
	}
	h.cache.Store(c)
}

// forRequest is the password.Verifier of a request that holds a slot, of which at most most wait.
func (h *hashes) forRequest(s *slot, most int) password.Verifier {
	return func(ctx context.Context, hash, clear string) (bool, error) {
		if !password.Slow(hash) || len(clear) > password.MaxLength {
			return h.verify(hash, clear)
		}
		match, known, err := h.cache.Load().Verify(hash, clear, func() (bool, error) {
			return h.compute(ctx, s, most, hash, clear)
		})
		if known {
			h.remembered.Inc()
		}
		return match, err
	}
}

// compute verifies a slow hash when it is its turn.
func (h *hashes) compute(ctx context.Context, s *slot, most int, hash, clear string) (bool, error) {
	s.release()
	defer h.waiting.Add(-1)
	if h.waiting.Add(1) > int64(most+cap(h.processors)) {
		return false, errHashesBusy
	}
	select {
	case h.processors <- struct{}{}:
	case <-ctx.Done():
		return false, errHashesBusy
	}
	defer func() { <-h.processors }()
	h.computed.Inc()
	return h.verify(hash, clear)
}

// slot is the one of its generation's slots that a request under way holds.
type slot struct {
	slots    <-chan struct{}
	released atomic.Bool
}

// release gives it back, once.
func (s *slot) release() {
	if s.released.CompareAndSwap(false, true) {
		<-s.slots
	}
}
