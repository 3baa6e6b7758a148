package main

import (
	"io"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// metrics writes the state in Prometheus' text format.
func (s *service) metrics(w io.Writer) {
	t := s.engine.Totals()
	c := &s.counters
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	gauges := map[string]int{
		"sessions":          t.Sessions,
		"sessions_reserved": t.Counted, // being relayed or about to be
		"sessions_waiting":  t.Waiting, // with bytes that their reader does not take
		"sessions_capacity": capacity(),
		"heap_bytes":        int(mem.HeapInuse),
	}
	counters := map[string]int64{
		"sessions_taken_total":    c.taken.Load(),
		"sessions_ended_total":    c.ended.Load(),
		"sessions_broken_total":   c.errors.Load(), // ended with an error: a reset, a kick
		"refused_total":           c.refused.Load(),
		"full_total":              c.full.Load(),
		"denied_total":            c.denied.Load(),
		"reports_malformed_total": c.malformed.Load(),
		"client_bytes_total":      c.fromClient.Load() + t.FromClient,
		"mailhost_bytes_total":    c.fromMailhost.Load() + t.FromMailhost,
		"uptime_seconds":          int64(time.Since(s.started) / time.Second),
	}
	for _, name := range slices.Sorted(maps.Keys(gauges)) {
		metrics.WriteGaugeUint64(w, "mailproxy_relayd_"+name, uint64(gauges[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		metrics.WriteCounterUint64(w, "mailproxy_relayd_"+name, uint64(max(counters[name], 0)))
	}
	c.logins.set.WritePrometheus(w)
}
