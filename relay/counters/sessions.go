package counters

import (
	"io"
	"maps"
	"runtime"
	"slices"
	"time"

	"mailproxy/internal/metrics"
	"mailproxy/relay/engine"
)

// WriteSessions writes what there is to say of an engine's sessions in Prometheus' text format, each name
// with prefix, such as "mailproxy_". capacity is the number of sessions for which there are file descriptors;
// 0 = unknown.
func WriteSessions(w io.Writer, prefix string, t engine.Totals, capacity int) {
	WriteGauges(w, prefix, map[string]int{
		"sessions":          t.Sessions,
		"sessions_reserved": t.Counted, // being relayed or about to be
		"sessions_waiting":  t.Waiting, // with bytes that their reader does not take
		"sessions_capacity": capacity,
	})
	WriteCounters(w, prefix, map[string]int64{
		"sessions_taken_total":  t.Taken,
		"sessions_ended_total":  t.Ended,
		"sessions_broken_total": t.Broken, // ended with an error: a reset, a kick
		"client_bytes_total":    t.FromClient,
		"mailhost_bytes_total":  t.FromMailhost,
	})
}

// WriteRefused writes how many sessions have not been taken, by reason.
func WriteRefused(w io.Writer, prefix string, r engine.Refused) {
	metrics.WriteLabelled(w, metrics.Counter, prefix+"sessions_refused_total", map[string]int64{
		metrics.Labels("limit", "all"): r.All, metrics.Labels("limit", "address"): r.Address,
		metrics.Labels("limit", "user"): r.User, metrics.Labels("limit", "descriptors"): r.Descriptors,
	})
}

// WriteProcess writes how long the process has run, how much memory its data take, and its file descriptors.
func WriteProcess(w io.Writer, prefix string, started time.Time) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	WriteGauges(w, prefix, map[string]int{"heap_bytes": int(mem.HeapInuse)})
	WriteCounters(w, prefix, map[string]int64{"uptime_seconds": int64(time.Since(started) / time.Second)})
	metrics.WriteDescriptors(w)
}

// WriteGauges writes numbers that go up and down, by name.
func WriteGauges(w io.Writer, prefix string, values map[string]int) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		metrics.Write(w, metrics.Gauge, prefix+name, int64(values[name]))
	}
}

// WriteCounters writes numbers that only grow, by name.
func WriteCounters(w io.Writer, prefix string, values map[string]int64) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		metrics.Write(w, metrics.Counter, prefix+name, values[name])
	}
}
