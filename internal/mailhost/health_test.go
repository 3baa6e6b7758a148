package mailhost

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	errRefused = errors.New("connection refused")
	here       = netip.MustParseAddrPort("127.0.0.2:143")
	there      = netip.MustParseAddrPort("127.0.0.3:143")
)

type event struct {
	kind   string
	addr   netip.AddrPort
	since  time.Duration
	turned int
}

// newHealth returns a Health, and what it has told so far.
func newHealth(logins int) (h *Health, told func() []event) {
	var mu sync.Mutex
	var seen []event
	add := func(e event) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, e)
	}
	return NewHealth(logins, 10*time.Second, time.Now, Events{
		Down: func(m Mailhost, _ error) { add(event{kind: "down", addr: m.Addr}) },
		Up: func(m Mailhost, since time.Duration, turned int) {
			add(event{"up", m.Addr, since, turned})
		},
		Busy: func(m Mailhost, turned int) {
			add(event{kind: "busy", addr: m.Addr, turned: turned})
		},
	}), func() []event { mu.Lock(); defer mu.Unlock(); return slices.Clone(seen) }
}

func enter(t *testing.T, h *Health, addr netip.AddrPort) *loginAttempt {
	t.Helper()
	l, err := h.acquire(t.Context(), "mail1", addr)
	if err != nil {
		t.Fatalf("Enter(%s): %v", addr, err)
	}
	return l
}

func TestHealthGoesDownAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, seen := newHealth(5)
		for range 2 {
			enter(t, h, here).failed(errRefused)
		}
		enter(t, h, here).answered() // a success between: the count begins anew
		for range 3 {
			if len(seen()) != 0 {
				t.Fatalf("down too early: %v", seen())
			}
			enter(t, h, here).failed(errRefused)
		}
		if len(seen()) != 1 || seen()[0] != (event{kind: "down", addr: here}) {
			t.Fatalf("three failures in a row told %v", seen())
		}
		for range 4 {
			if _, err := h.acquire(t.Context(), "mail1", here); !errors.Is(err, ErrDown) {
				t.Fatalf("a mailhost that is down: %v", err)
			}
		}
		enter(t, h, there).answered() // others are not concerned
		time.Sleep(10 * time.Second)
		trial := enter(t, h, here)
		if _, err := h.acquire(t.Context(), "mail1", here); !errors.Is(err, ErrDown) {
			t.Fatalf("a second one besides the one that tries: %v", err)
		}
		trial.failed(errRefused)
		if _, err := h.acquire(t.Context(), "mail1", here); !errors.Is(err, ErrDown) {
			t.Fatalf("after the trial has failed: %v", err)
		}
		time.Sleep(10 * time.Second)
		enter(t, h, here).answered()
		if want := (event{"up", here, 20 * time.Second, 6}); len(seen()) != 2 || seen()[1] != want {
			t.Fatalf("told %v, want %v", seen(), want)
		}
		enter(t, h, here).answered()
		if states := h.States(); len(states) != 0 {
			t.Errorf("nothing is left to know, but there is %v", states)
		}
	})
}

func TestHealthBoundsLoginsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newHealth(2)
		first := []*loginAttempt{enter(t, h, here), enter(t, h, here)}
		var wg sync.WaitGroup
		served := make(chan int, 4)
		for i := range 4 {
			wg.Go(func() {
				l, err := h.acquire(t.Context(), "mail1", here)
				if err != nil {
					t.Errorf("waiting login %d: %v", i, err)
					return
				}
				served <- i
				l.answered()
			})
			synctest.Wait() // they wait in this order
		}
		if _, err := h.acquire(t.Context(), "mail1", here); !errors.Is(err, ErrBusy) {
			t.Fatalf("one more than may wait: %v", err)
		}
		if states := h.States(); len(states) != 1 || states[0].UnderWay != 2 || states[0].Waiting != 4 {
			t.Fatalf("states %v", states)
		}
		if len(served) != 0 {
			t.Fatal("more logins under way than allowed")
		}
		first[0].answered()
		wg.Wait()
		got := []int{<-served, <-served, <-served, <-served}
		if !slices.Equal(got, []int{0, 1, 2, 3}) {
			t.Errorf("served in the order %v", got)
		}
		first[1].answered()
		if states := h.States(); len(states) != 0 {
			t.Errorf("states %v", states)
		}
	})
}

// TestHealthGivesUpWaiting: a client that goes away while it waits leaves its slot to the next.
func TestHealthGivesUpWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newHealth(1)
		first := enter(t, h, here)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := h.acquire(ctx, "mail1", here)
		if !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("waited too long: %v", err)
		}
		first.abandoned()
		enter(t, h, here).answered()
		if states := h.States(); len(states) != 0 {
			t.Errorf("states %v", states)
		}
	})
}

// TestHealthTurnsWaitersAway: who waits when a mailhost goes down does not wait for it in vain.
func TestHealthTurnsWaitersAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newHealth(1)
		for range 2 {
			enter(t, h, here).failed(errRefused)
		}
		third := enter(t, h, here)
		result := make(chan error)
		for range 2 {
			go func() {
				_, err := h.acquire(t.Context(), "mail1", here)
				result <- err
			}()
		}
		synctest.Wait()
		third.failed(errRefused)
		for range 2 {
			if err := <-result; !errors.Is(err, ErrDown) {
				t.Errorf("a login that waited: %v", err)
			}
		}
	})
}

func TestNoHealth(t *testing.T) {
	var h *Health
	l, err := h.acquire(t.Context(), "mail1", here)
	if err != nil {
		t.Fatal(err)
	}
	l.failed(errRefused)
	l.answered()
	l.abandoned()
	if states := h.States(); states != nil {
		t.Errorf("states %v", states)
	}
}
