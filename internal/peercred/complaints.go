package peercred

import (
	"fmt"
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

// Due tells whether a line may be written now. more is to stand at its end: how many have not been written
// since the last one, or nothing.
func (c *Complaints) Due(now time.Time) (more string, due bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.next) {
		c.silent++
		return "", false
	}
	if c.silent > 0 {
		more = fmt.Sprintf(" (%d like this since the last line)", c.silent)
	}
	c.silent, c.next = 0, now.Add(complaintInterval)
	return more, true
}
