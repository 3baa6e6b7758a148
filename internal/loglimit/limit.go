// Package loglimit bounds how often a program logs the same thing, for lines that others can cause as often
// as they like: clients that are refused, accounts that cannot be used, files that are broken.
package loglimit

import (
	"fmt"
	"maps"
	"sync"
	"time"
)

// maxLines bounds the different lines that a Limit remembers.
const maxLines = 1000

// Limit is for lines of one kind. Its zero value has seen none, and its methods may be called by many
// goroutines.
type Limit struct {
	mu    sync.Mutex
	lines map[string]time.Time // when each was due

	n       int         // events that have not been told of
	tell    func(n int) // of the last of them
	pending bool        // flush will be called
}

// Due says whether a line is to be written now, and notes that it is: it has not been within the time that
// every is, however the clock is set meanwhile. Different lines count one by one; when there are too many
// within that time, the others are not written.
func (l *Limit) Due(line string, every time.Duration, now time.Time) bool {
	old := func(at time.Time) bool { return now.Sub(at).Abs() >= every }
	l.mu.Lock()
	defer l.mu.Unlock()
	at, written := l.lines[line]
	if written && !old(at) {
		return false
	}
	if !written && len(l.lines) >= maxLines {
		maps.DeleteFunc(l.lines, func(_ string, at time.Time) bool { return old(at) })
		if len(l.lines) >= maxLines {
			return false
		}
	}
	if l.lines == nil {
		l.lines = map[string]time.Time{}
	}
	l.lines[line] = now
	return true
}

// Count has the log tell of events by their number: of the first at once, of those after it once in the time
// that every is, until that passes without one. tell is called with the number of events since the last line,
// for the last of them. Calls come one at a time, and must not wait.
func (l *Limit) Count(every time.Duration, tell func(n int)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	l.tell = tell
	if !l.pending {
		l.flush(every)
	}
}

// flush tells, and comes again. l.mu is locked.
func (l *Limit) flush(every time.Duration) {
	l.pending = l.n > 0
	if !l.pending {
		return
	}
	l.tell(l.n)
	l.n, l.tell = 0, nil
	time.AfterFunc(every, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.flush(every)
	})
}

// More is the end of a line that stands for n events like it.
func More(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (%d like this since the last line)", n-1)
}
