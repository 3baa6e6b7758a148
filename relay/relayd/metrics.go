package main

import (
	"fmt"
	"io"
	"runtime"
	"time"
)

// metrics writes the state in Prometheus' text format.
func (s *service) metrics(w io.Writer) {
	t := s.engine.Totals()
	c := &s.counters
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	for _, m := range []struct {
		name, kind, help string
		value            int64
	}{
		{"sessions", "gauge", "Sessions being relayed.", int64(t.Sessions)},
		{"sessions_reserved", "gauge", "Sessions being relayed or about to be.", int64(t.Counted)},
		{"sessions_waiting", "gauge", "Sessions with bytes that their reader does not take.", int64(t.Waiting)},
		{"sessions_capacity", "gauge", "Sessions that the descriptor limit allows.", int64(capacity())},
		{"sessions_taken_total", "counter", "Sessions taken over.", c.taken.Load()},
		{"sessions_ended_total", "counter", "Sessions that have ended.", c.ended.Load()},
		{"sessions_broken_total", "counter", "Sessions that ended with an error: a reset, a kick.", c.errors.Load()},
		{"refused_total", "counter", "Hand-overs refused by a limit.", c.refused.Load()},
		{"full_total", "counter", "Hand-overs sent back for want of descriptors.", c.full.Load()},
		{"denied_total", "counter", "Callers who may not use the socket.", c.denied.Load()},
		{"reports_malformed_total", "counter", "Reports of logins that make no sense; they are not counted.", c.malformed.Load()},
		{"client_bytes_total", "counter", "Bytes from clients.", c.fromClient.Load() + t.FromClient},
		{"mailhost_bytes_total", "counter", "Bytes from mailhosts.", c.fromMailhost.Load() + t.FromMailhost},
		{"heap_bytes", "gauge", "Memory of the Go heap in use.", int64(mem.HeapInuse)},
		{"uptime_seconds", "counter", "Time since the start.", int64(time.Since(s.started) / time.Second)},
	} {
		fmt.Fprintf(w, "# HELP mailproxy_relayd_%s %s\n# TYPE mailproxy_relayd_%s %s\nmailproxy_relayd_%s %d\n",
			m.name, m.help, m.name, m.kind, m.name, m.value)
	}
	c.logins.write(w)
}
