// Package clock is a clock for tests that is set while time passes, as by an administrator or by NTP: what it
// shows jumps, the time that passes does not. Times are as time.Now returns them, with both readings.
package clock

import (
	"sync"
	"time"
	"unsafe"
)

// Clock is a clock. Its zero value begins with the time of its first use, and time passes by Pass alone. Its
// methods may be called by any goroutine.
type Clock struct {
	mu  sync.Mutex
	now time.Time
	set time.Duration // how far it was set forward, whole seconds
}

// Now is the function of package time with the same name.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return shown(c.time(), c.set)
}

// time is what a clock would show that nobody sets.
func (c *Clock) time() time.Time {
	if c.now.IsZero() {
		c.now = time.Now()
	}
	return c.now
}

// Set sets the clock forward by d, or back where it is negative; whole seconds.
func (c *Clock) Set(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set += d
}

// Pass has time pass.
func (c *Clock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.time().Add(d)
}

// Steps are what clocks do: a dead battery, a wrong time zone, a correction.
func Steps() map[string]time.Duration {
	return map[string]time.Duration{
		"a second forward": time.Second, "an hour forward": time.Hour, "a day forward": 24 * time.Hour,
		"ten years forward": 10 * 365 * 24 * time.Hour,
		"a second back":     -time.Second, "an hour back": -time.Hour, "a day back": -24 * time.Hour,
		"ten years back": -10 * 365 * 24 * time.Hour,
	}
}

// shown is t as a clock shows it that was set forward by d: only the reading of the wall clock differs.
// Package time has no function for that. Of the first word of a time.Time with two readings, the lowest 30
// bits are nanoseconds and the 33 above them seconds.
func shown(t time.Time, d time.Duration) time.Time {
	s := t
	*(*uint64)(unsafe.Pointer(&s)) += uint64(d/time.Second) << 30
	if s.Sub(t) != 0 || s.Round(0).Sub(t.Round(0)) != d {
		panic("package time keeps its readings in another way than this package knows")
	}
	return s
}
