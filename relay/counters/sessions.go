package counters

import (
	"io"
	"maps"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"mailproxy/internal/metrics"
	"mailproxy/relay"
	"mailproxy/relay/engine"
)

// Sessions counts the sessions of an engine. Its zero value is ready, and its methods may be called by many
// goroutines.
type Sessions struct {
	Taken atomic.Int64 // sessions that the engine has been given
	ended, broken,
	fromClient, fromMailhost atomic.Int64
}

// Ended accounts for a session that has ended.
func (c *Sessions) Ended(st relay.Stats, err error) {
	c.ended.Add(1)
	if err != nil {
		c.broken.Add(1)
	}
	c.fromClient.Add(st.FromClient)
	c.fromMailhost.Add(st.FromMailhost)
}

// Changes grows with every session that begins or ends.
func (c *Sessions) Changes() int64 { return c.Taken.Load() + c.ended.Load() }

// Write writes what there is to say of sessions in Prometheus' text format, each name with prefix, such as
// "mailproxy_". t are the engine's, capacity is the number of sessions for which there are file descriptors;
// 0 = unknown.
func (c *Sessions) Write(w io.Writer, prefix string, t engine.Totals, capacity int) {
	WriteGauges(w, prefix, map[string]int{
		"sessions":          t.Sessions,
		"sessions_reserved": t.Counted, // being relayed or about to be
		"sessions_waiting":  t.Waiting, // with bytes that their reader does not take
		"sessions_capacity": capacity,
	})
	WriteCounters(w, prefix, map[string]int64{
		"sessions_taken_total":  c.Taken.Load(),
		"sessions_ended_total":  c.ended.Load(),
		"sessions_broken_total": c.broken.Load(), // ended with an error: a reset, a kick
		"client_bytes_total":    c.fromClient.Load() + t.FromClient,
		"mailhost_bytes_total":  c.fromMailhost.Load() + t.FromMailhost,
	})
}

// WriteRefused writes how many sessions have not been taken, and for want of what.
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
