package main

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestTimeLimit(t *testing.T) {
	limit := func(d time.Duration) *timeLimit {
		return &timeLimit{Context: context.Background(), end: time.Now().Add(d)}
	}
	for _, waited := range []bool{false, true} {
		l := limit(time.Hour)
		if waited {
			l.Done()
		}
		if d, ok := l.Deadline(); !ok || d != l.end || l.Err() != nil {
			t.Errorf("before its end: %v, %v, %v", d, ok, l.Err())
		}
		l.cancel()
		if <-l.Done(); !errors.Is(l.Err(), context.Canceled) {
			t.Errorf("canceled: %v", l.Err())
		}

		l = limit(10 * time.Millisecond)
		if waited {
			<-l.Done()
		}
		time.Sleep(time.Until(l.end))
		if !errors.Is(l.Err(), context.DeadlineExceeded) {
			t.Errorf("at its end: %v", l.Err())
		}
		<-l.Done()
		l.cancel()
		l.cancel()
	}

	// What is derived from it ends with it.
	l := limit(10 * time.Millisecond)
	child, cancel := context.WithTimeout(l, time.Hour)
	defer cancel()
	if <-child.Done(); !errors.Is(child.Err(), context.DeadlineExceeded) {
		t.Errorf("the child: %v", child.Err())
	}
}
