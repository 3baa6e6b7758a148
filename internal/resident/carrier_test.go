package resident

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailproxy/relay/handoff"
)

// handOver calls f, which stands for handing the sessions over to next.
func handOver(c *carrier, next *handoff.Peer, f func() error) error {
	err := c.close()
	if err == nil {
		err = f()
	}
	if err != nil {
		c.reopen(nil)
		return err
	}
	c.reopen(next)
	return nil
}

// TestCarrierCloses: a session that is being taken for ever does not keep a reload for ever, and others do
// not wait for it; those that come while sessions are handed over go where these have gone.
func TestCarrierCloses(t *testing.T) {
	late := func(t *testing.T, what string, stop func() error) {
		t.Helper()
		if err := stop(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want an error about %q", err, what)
		}
	}
	t.Run("a session", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, next := newCarrier(nil), new(handoff.Peer)
			c.acquire() // a session is being taken, for ever
			move := func() error { return handOver(c, next, func() error { return nil }) }
			late(t, "taking a session", move)
			began := time.Now()
			if at := c.acquire(); at != nil || time.Since(began) != 0 {
				t.Errorf("another session waited for %v and went to %v", time.Since(began), at)
			}
			c.release()
			late(t, "taking a session", move)
			c.release()
			if err := move(); err != nil {
				t.Error(err)
			}
			if at := c.acquire(); at != next {
				t.Error("a session goes to", at)
			}
		})
	})
	t.Run("sessions wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, next := newCarrier(nil), new(handoff.Peer)
			at := make(chan *handoff.Peer, 1)
			fault := errors.New("a fault")
			for _, err := range []error{fault, nil} {
				if got := handOver(c, next, func() error {
					go func() { defer c.release(); at <- c.acquire() }()
					synctest.Wait()
					if len(at) > 0 {
						t.Error("a session that is neither here nor there")
					}
					return err
				}); got != err {
					t.Error(got)
				}
				if got := <-at; (got == next) != (err == nil) {
					t.Errorf("after %v it goes to %p", err, got)
				}
			}
		})
	})
}
