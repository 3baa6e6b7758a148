package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/relay"
	"mailproxy/tests/relaytest"
	"mailproxy/tests/testlog"
)

// TestStalledPeers: one peer in ten never reads what the other sends without end. Nobody else waits for them.
func TestStalledPeers(t *testing.T) {
	s := startService(t)
	kinds := append(relaytest.TLSKinds()[:1], relaytest.Kinds()[0])
	var wg sync.WaitGroup
	var mu sync.Mutex
	var times []time.Duration
	var stalled []relaytest.Conn
	stuck := make(chan struct{}) // closed when all that are to be are
	for i := range 60 {
		nc, fc := kinds[i%2].Make(t)
		nm, fm := relaytest.TCP(t, 0)
		s.join(t, nc, nm, time.Minute)
		if i%10 < 2 && i < 30 { // of each kind
			stalled = append(stalled, fc, fm)
			go func() {
				buf := make([]byte, 1<<16)
				for {
					if _, err := fm.Write(buf); err != nil {
						return
					}
				}
			}()
			continue
		}
		wg.Go(func() {
			<-stuck
			for range 100 {
				start := time.Now()
				_, _ = io.WriteString(fc, "a NOOP\r\n")
				if _, err := io.ReadFull(fm, make([]byte, 8)); err != nil {
					t.Error(err)
					return
				}
				_, _ = io.WriteString(fm, "a OK\r\n")
				if _, err := io.ReadFull(fc, make([]byte, 6)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				times = append(times, time.Since(start))
				mu.Unlock()
			}
		})
	}
	allStuck := func() bool {
		out, _, _ := ask(s.socket, "stats")
		return strings.Contains(out, "mailproxy_relayd_sessions_waiting 6\n")
	}
	waitFor(t, allStuck)
	close(stuck)
	wg.Wait()
	slices.Sort(times)
	// Who waits for those that are stuck waits for ever.
	if p := times[len(times)*99/100]; p > testlog.Patience {
		t.Errorf("99 of 100 answers within %v", p)
	}
	waitFor(t, allStuck)
	for _, c := range stalled {
		relaytest.Reset(c)
	}
	waitFor(t, func() bool { return s.engine.Totals().Counted == 54 })
}

// TestFewDescriptors: a relayd that has no file descriptors left sends sessions back, keeps those that it
// has, moves bulk without pipes, and takes new ones when there is room.
func TestFewDescriptors(t *testing.T) {
	p := startProcess(t, noFile+"=64")
	type pair struct{ c, m relaytest.Conn }
	var taken []pair
	for range 40 {
		nc, fc := relaytest.TCP(t, 0)
		nm, fm := relaytest.TCP(t, 0)
		err := handOver(p.socket, nc, nm, info("ann"), "")
		if err == nil {
			taken = append(taken, pair{fc, fm})
		} else if !errors.Is(err, relay.ErrUnavailable) {
			t.Fatal(err)
		} else {
			here(t, nc, nm, fc, fm)
		}
		nc.Close()
		nm.Close()
	}
	if len(taken) < 10 || len(taken) > 32 {
		t.Fatalf("%d sessions with 64 descriptors", len(taken))
	}
	for _, s := range taken {
		relaytest.Exchange(t, s.c, s.m)
	}
	var wg sync.WaitGroup
	for _, s := range taken {
		wg.Go(func() {
			if err := relaytest.Bulk(s.c, s.m, 2<<20); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	p.until("room", func() bool {
		out, _, err := ask(p.socket, "stats")
		return err == nil && strings.Contains(out, "mailproxy_relayd_sessions 0\n")
	})
	nc, fc := relaytest.TCP(t, 0)
	nm, fm := relaytest.TCP(t, 0)
	p.hand(nc, nm, "bob")
	relaytest.Exchange(t, fc, fm)
}
