package main

import (
	"io"

	"mailproxy/internal/limits"
	scrape "mailproxy/internal/metrics"
	"mailproxy/relay/counters"
)

// metrics writes the state in Prometheus' text format. What resident front ends count as well has the same
// names there; the first names of it, with relayd in them, stay.
func (s *service) metrics(w io.Writer) {
	const own, shared = "mailproxy_relayd_", "mailproxy_"
	t := s.engine.Totals()
	c := &s.counters
	_, capacity := limits.Capacity(0)
	counters.WriteSessions(w, own, t, capacity)
	counters.WriteSessions(w, shared, t, capacity)
	counters.WriteCounters(w, own, map[string]int64{
		"refused_total":           c.refused.Load(),
		"full_total":              c.full.Load(),
		"denied_total":            c.denied.Load(),
		"reports_malformed_total": c.malformed.Load(),
	})
	counters.WriteRefused(w, shared, t.Refused)
	scrape.WriteReload(w, shared, c.reloadFailed.Load())
	counters.WriteProcess(w, own, s.started)
	c.logins.Write(w)
	c.logins.WriteSessions(w, t.Mailhosts)
}
