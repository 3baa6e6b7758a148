package connection

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestInterrupt: the end of a context sets a deadline that has passed, before stop returns or not at all.
func TestInterrupt(t *testing.T) {
	for name, test := range map[string]struct {
		ended bool // before stop
		want  int
	}{
		"the context ends": {true, 1}, "it is stopped before": {false, 0},
	} {
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			n := 0
			stop := Interrupt(ctx, func(at time.Time) error {
				if !at.Before(time.Now()) {
					t.Error(at)
				}
				n++
				return nil
			})
			if test.ended {
				cancel()
			}
			for range 2 {
				if ok := stop(); ok == test.ended || n != test.want {
					t.Fatalf("%s: %v, %d deadlines", name, ok, n)
				}
			}
			cancel()
		}
	}
}

// TestWithin: a wait ends with its time and with the context, and later ones have no limit.
func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		defer b.Close()
		for _, limit := range []time.Duration{time.Second, time.Hour} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			end := Within(ctx, a, limit)
			began := time.Now()
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
			if took := time.Since(began); took != min(limit, time.Minute) {
				t.Errorf("%v: it took %v", limit, took)
			}
			end()
		}
		go func() {
			time.Sleep(2 * time.Hour)
			_, _ = b.Write([]byte("x"))
		}()
		if _, err := a.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
}
