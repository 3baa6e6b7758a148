package mailhost

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestBusyIsToldOnceAMinute: the first login that is turned away is an event, then there is one a minute with
// the number of the others, until there are none.
func TestBusyIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, seen := newHealth(1)
		under := enter(t, h, here)
		ctx, leave := context.WithCancel(t.Context())
		for range 2 {
			go func() { _, _ = h.acquire(ctx, "mail1", here) }()
		}
		synctest.Wait()
		turnAway := func(n int) {
			for range n {
				if _, err := h.acquire(t.Context(), "mail1", here); !errors.Is(err, ErrBusy) {
					t.Fatalf("a login too many: %v", err)
				}
			}
		}
		busy := func(n int) event { return event{kind: "busy", addr: here, turned: n} }
		for _, step := range []struct {
			turned int
			want   []event
		}{
			{5, []event{busy(1)}},
			{3, []event{busy(1), busy(4)}},
			{0, []event{busy(1), busy(4), busy(3)}},
			{0, []event{busy(1), busy(4), busy(3)}},
			{2, []event{busy(1), busy(4), busy(3), busy(1)}},
		} {
			turnAway(step.turned)
			if !slices.Equal(seen(), step.want) {
				t.Fatalf("events %v, want %v", seen(), step.want)
			}
			time.Sleep(busyEvery)
			synctest.Wait()
		}
		if _, turned := h.TurnedAway(); turned != 10 {
			t.Errorf("%d turned away in all", turned)
		}
		leave()
		synctest.Wait()
		if _, turned := h.TurnedAway(); turned != 10 {
			t.Error("a client that has gone counts as turned away")
		}
		under.answered()
		time.Sleep(2 * busyEvery)
		synctest.Wait()
		if len(h.addrs) != 0 {
			t.Errorf("still known: %v", h.addrs)
		}
	})
}

// TestOneLoginTriesAMailhost: while it is under way no other does, however long it takes; and one that is
// broken off leaves it to the next.
func TestOneLoginTriesAMailhost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, seen := newHealth(5)
		for range failuresUntilDown {
			enter(t, h, here).failed(errRefused)
		}
		time.Sleep(10 * time.Second)
		trial := enter(t, h, here)
		time.Sleep(25 * time.Second)
		if _, err := h.acquire(t.Context(), "mail1", here); !errors.Is(err, ErrDown) {
			t.Fatalf("beside the one that tries: %v", err)
		}
		trial.abandoned()
		enter(t, h, here).failed(errRefused)
		if _, err := h.acquire(t.Context(), "mail1", here); !errors.Is(err, ErrDown) {
			t.Fatalf("after the trial has failed: %v", err)
		}
		time.Sleep(10 * time.Second)
		enter(t, h, here).answered()
		want := []event{{kind: "down", addr: here}, {"up", here, 45 * time.Second, 2}}
		if !slices.Equal(seen(), want) {
			t.Errorf("events %v, want %v", seen(), want)
		}
	})
}

// TestLateFailuresSayNothing: logins that began before the mailhost came back find out later than others.
func TestLateFailuresSayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, seen := newHealth(5)
		var slow []*loginAttempt
		for range 3 {
			slow = append(slow, enter(t, h, here))
		}
		time.Sleep(time.Second)
		enter(t, h, here).answered()
		for _, l := range slow {
			l.failed(errRefused)
		}
		if len(seen()) != 0 || len(h.States()) != 0 {
			t.Errorf("events %v, states %v", seen(), h.States())
		}
	})
}

// TestForgottenMailhosts: one that has failed is not kept for ever.
func TestForgottenMailhosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newHealth(5)
		for range failuresUntilDown {
			enter(t, h, here).failed(errRefused)
		}
		time.Sleep(forgetAfter - time.Second)
		if states := h.States(); len(states) != 1 || !states[0].Down {
			t.Fatalf("states %v", states)
		}
		time.Sleep(forgetAfter)
		if states := h.States(); len(states) != 0 {
			t.Errorf("states %v", states)
		}
	})
}
