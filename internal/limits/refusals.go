package limits

import (
	"sync"
	"time"
)

// every is how often a limit may write to the log.
const every = time.Minute

// Refusals has the log told of refusals at a limit: of the first at once, of those after it once a minute,
// until a minute has none.
type Refusals struct {
	tell func(n int, last string)

	mu   sync.Mutex
	n    int
	last string
	due  bool // tell will be called
}

// NewRefusals returns a Refusals. tell is told how many were refused since it was called last, and who the
// last one was. It is called by one goroutine at a time, and must not wait.
func NewRefusals(tell func(n int, last string)) *Refusals { return &Refusals{tell: tell} }

// Refused counts one refusal, of who.
func (r *Refusals) Refused(who string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	r.last = who
	if !r.due {
		r.flush()
	}
}

// flush tells, and comes again. r.mu is locked.
func (r *Refusals) flush() {
	r.due = r.n > 0
	if !r.due {
		return
	}
	r.tell(r.n, r.last)
	r.n, r.last = 0, ""
	time.AfterFunc(every, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.flush()
	})
}
