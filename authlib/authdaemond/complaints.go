package main

import (
	"sync"
	"time"
)

// complaintPause is how long an account that was complained about is not named again, maxComplaints how many
// are named in that time: anybody can ask for accounts, and must not fill the log.
const (
	complaintPause = time.Minute
	maxComplaints  = 1000
)

// complaints remembers which accounts the log has named lately. Its zero value is ready.
type complaints struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// due tells whether the log is to name an account now, and takes it that it does.
func (c *complaints) due(account string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.last[account]; ok && now.Sub(last) < complaintPause {
		return false
	}
	if len(c.last) >= maxComplaints {
		for name, last := range c.last {
			if now.Sub(last) >= complaintPause {
				delete(c.last, name)
			}
		}
		if len(c.last) >= maxComplaints {
			return false
		}
	}
	if c.last == nil {
		c.last = make(map[string]time.Time)
	}
	c.last[account] = now
	return true
}
