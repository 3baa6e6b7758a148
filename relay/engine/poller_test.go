package engine

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A poller returns for an event, for wake (called before or while it waits, once or often) and at its time,
// in both ways of waiting.
func TestPoller(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%v", shared), func(t *testing.T) {
			p, err := newPoller(shared)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			var ends [2]int
			if err := unix.Pipe2(ends[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			defer closeAll(ends[:]...)
			wait := func(until time.Time) []unix.EpollEvent {
				t.Helper()
				type result struct {
					events []unix.EpollEvent
					err    error
				}
				got := make(chan result, 1)
				go func() { events, err := p.wait(until); got <- result{events, err} }()
				select {
				case r := <-got:
					if r.err != nil {
						t.Fatal(r.err)
					}
					return r.events
				case <-time.After(30 * time.Second):
					t.Fatal("wait does not return")
				}
				return nil
			}
			woken := func(events []unix.EpollEvent) {
				t.Helper()
				if len(events) != 1 || events[0].Fd != noSlot {
					t.Fatalf("events %v, want that of wake", events)
				}
			}

			p.wake()
			woken(wait(time.Time{}))
			p.wake()
			p.wake()
			woken(wait(time.Time{}))
			if events := wait(time.Now().Add(time.Millisecond)); len(events) != 0 {
				t.Fatalf("one wake too many: %v", events)
			}
			if events := wait(time.Unix(1, 0)); len(events) != 0 {
				t.Fatalf("events %v, want none", events)
			}
			go p.wake()
			woken(wait(time.Time{}))

			if err := p.watch(ends[0], 7, 1, unix.EPOLLIN, 0); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = unix.Write(ends[1], []byte{1}) }()
			for range 2 { // it is there until it has been read
				events := wait(time.Time{})
				if len(events) != 1 || events[0].Fd != 7 || events[0].Pad != 1 {
					t.Fatalf("events %v, want one of leg 1 of slot 7", events)
				}
			}
			if err := p.watch(ends[0], 7, 1, 0, unix.EPOLLIN); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if events := wait(start.Add(20 * time.Millisecond)); len(events) != 0 {
				t.Fatalf("events %v, want none of what is not watched", events)
			}
			if took := time.Since(start); took < 20*time.Millisecond {
				t.Errorf("wait has returned after %v, before its time", took)
			}
		})
	}
}
