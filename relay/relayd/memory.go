package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// tidy returns memory to the system after times of many hand-overs.
func (s *service) tidy(ctx context.Context) {
	t := time.NewTicker(2 * time.Second)
	defer t.Stop()
	var seen, tidied int64
	for {
		collect()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := s.engine.Changes() + s.counters.reported.Load()
		if now == seen && now != tidied {
			debug.FreeOSMemory()
			tidied = now
		}
		seen = now
	}
}

// collect sets how much may be allocated before the next collection: a fifth of what lives, as little is
// allocated and a small heap matters, but some megabytes in any case: hand-overs by the hundred would else
// cost a collection each few. What they leave goes back to the system when they pause.
func collect() {
	const floor = 8 << 20
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := 400
	if live[0].Value.Kind() == metrics.KindUint64 {
		percent = max(20, int(min(400, floor*100/max(live[0].Value.Uint64(), 1))))
	}
	debug.SetGCPercent(percent)
}
