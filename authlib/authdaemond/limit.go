package main

import (
	"context"
	"sync"
	"time"
)

// timeLimit is a context that ends at a time. Unlike the standard library's it sets no timer before somebody waits for its end,
// which few requests do.
type timeLimit struct {
	context.Context // the parent, which never ends
	end             time.Time

	mu    sync.Mutex
	timed context.Context // nil until somebody waits
	stop  context.CancelFunc
	over  bool // canceled
}

// Deadline implements context.Context.
func (l *timeLimit) Deadline() (time.Time, bool) { return l.end, true }

// Done implements context.Context.
func (l *timeLimit) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timed == nil {
		l.timed, l.stop = context.WithDeadline(l.Context, l.end)
		if l.over {
			l.stop()
		}
	}
	return l.timed.Done()
}

// Err implements context.Context.
func (l *timeLimit) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.timed != nil:
		return l.timed.Err()
	case l.over:
		return context.Canceled
	case !time.Now().Before(l.end):
		return context.DeadlineExceeded
	}
	return nil
}

// cancel ends it now.
func (l *timeLimit) cancel() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	if l.stop != nil {
		l.stop()
	}
}
