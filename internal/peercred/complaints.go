package peercred

import (
	"sync"
	"time"
)

// complaintInterval is the shortest time between two log lines about callers that were refused.
const complaintInterval = 10 * time.Second

// Complaints bounds what a service writes about callers that it refuses: they can call as often as they like.
// Its zero value is ready, and it may be used by many goroutines.
type Complaints struct {
	mu     sync.Mutex
	next   time.Time
	silent int
}

// Due tells whether a line may be written now, and how many have not been written since the last one.
func (c *Complaints) Due(now time.Time) (unwritten int, due bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.next) {
		c.silent++
		return 0, false
	}
	unwritten, c.silent = c.silent, 0
	c.next = now.Add(complaintInterval)
	return unwritten, true
}
