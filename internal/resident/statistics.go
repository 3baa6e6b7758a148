package resident

import (
	"cmp"
	"context"
	"io"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"mailproxy/internal/frontend"
	"mailproxy/internal/limits"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/metrics"
	"mailproxy/internal/tlsconf"
	"mailproxy/relay"
	"mailproxy/relay/counters"
)

// prefix begins the name of every metric. Those that relayd has as well have its names.
const prefix = "mailproxy_"

// statistics are what a resident front end counts.
type statistics struct {
	logins  *counters.Logins
	set     *metrics.Set // what has labels
	started time.Time

	connections           atomic.Int64 // that were accepted
	turnedAway, ofAddress atomic.Int64 // by MAXUNAUTH, by MAXUNAUTHPERIP
	reloadFailed          atomic.Bool  // the last one
}

func newStatistics() *statistics {
	n := &statistics{logins: counters.NewLogins(), set: metrics.NewSet(), started: time.Now()}
	// Prometheus needs a 0 first to see the increase.
	for _, err := range []error{nil, relay.ErrLimit, relay.ErrUnavailable} {
		countHandOver(n.set, err, 0)
	}
	n.set.Add(tlsFailures, "", 0)
	return n
}

const tlsFailures = prefix + "tls_failures_total"

func countHandOver(set *metrics.Set, err error, n int64) {
	set.Add(prefix+"handovers_total", metrics.Labels("result", handOverResult(err)), n)
}

// handOvers counts the sessions that relayd is offered.
type handOvers struct {
	frontend.Relayd
	set *metrics.Set
}

// Carry is part of relay.Carrier.
func (h handOvers) Carry(ctx context.Context, s *relay.Session) error {
	err := h.Relayd.Carry(ctx, s)
	countHandOver(h.set, err, 1)
	return err
}

// reports takes reports of logins to relayd where there is one, which counts them; else they are counted
// here. So no login is counted twice.
type reports struct {
	relayd frontend.Relayd
	logins *counters.Logins
}

// Available is part of login.Reports: somebody counts in any case.
func (r reports) Available() bool { return true }

// Report is part of login.Reports.
func (r reports) Report(l *relay.Report) error {
	if r.relayd.Available() && r.relayd.Report(l) == nil {
		return nil
	}
	return r.logins.Add(l)
}

// countedTLS counts handshakes.
type countedTLS struct {
	frontend.TLS
	set *metrics.Set
}

// Handshake is part of frontend.TLS.
func (t countedTLS) Handshake(ctx context.Context, conn net.Conn, o tlsconf.Options) (*tlsconf.Conn, error) {
	c, err := t.TLS.Handshake(ctx, conn, o)
	if err != nil {
		t.set.Add(tlsFailures, "", 1)
		return nil, err
	}
	state := c.ConnectionState()
	t.set.Add(prefix+"tls_handshakes_total", metrics.Labels(
		"version", tlsVersion(state.Version), "resumed", strconv.FormatBool(state.DidResume)), 1)
	return c, nil
}

// metrics writes the state in Prometheus' text format.
func (s *service) metrics(w io.Writer) {
	n := s.statistics
	_, capacity := limits.Capacity(s.conns.max)
	totals := s.engine.Totals()
	counters.WriteSessions(w, prefix, totals, capacity)
	counters.WriteRefused(w, prefix, totals.Refused)
	metrics.WriteReload(w, prefix, n.reloadFailed.Load())
	counters.WriteGauges(w, prefix, map[string]int{"connections": s.conns.count()})
	down, busy := s.health.TurnedAway()
	counters.WriteCounters(w, prefix, map[string]int64{
		"connections_total":                n.connections.Load(),
		"mailhosts_down_turned_away_total": int64(down),
		"mailhosts_busy_turned_away_total": int64(busy),
	})
	metrics.WriteLabelled(w, metrics.Counter, prefix+"connections_refused_total", map[string]int64{
		`{limit="MAXUNAUTH"}`: n.turnedAway.Load(), `{limit="MAXUNAUTHPERIP"}`: n.ofAddress.Load(),
	})
	writeHealth(w, s.health.States())
	s.writeCertificates(w)
	counters.WriteProcess(w, prefix, n.started)
	n.set.Write(w)
	n.logins.Write(w)
	n.logins.WriteSessions(w, totals.Mailhosts)
}

// maxShown bounds the addresses and the certificates that are shown one by one.
const maxShown = 500

// writeHealth writes the state of mailhosts' addresses at which logins are under way or have failed; if there
// are more than maxShown, those that are down first.
func writeHealth(w io.Writer, states []mailhost.State) {
	slices.SortStableFunc(states, func(a, b mailhost.State) int {
		return cmp.Compare(b.Since.Unix(), a.Since.Unix()) // zero: not down
	})
	down, since, underWay := map[string]int64{}, map[string]int64{}, map[string]int64{}
	waiting, turned := map[string]int64{}, map[string]int64{}
	for _, x := range states[:min(len(states), maxShown)] {
		labels := metrics.Labels("mailhost", x.Host, "address", x.Where())
		down[labels], underWay[labels], waiting[labels] = 0, int64(x.UnderWay), int64(x.Waiting)
		turned[labels] = int64(x.Turned)
		if x.Down {
			down[labels], since[labels] = 1, x.Since.Unix()
		}
	}
	const address = "mailhost_address_"
	metrics.WriteLabelled(w, metrics.Gauge, prefix+address+"down", down)
	metrics.WriteLabelled(w, metrics.Gauge, prefix+address+"down_since_seconds", since)
	metrics.WriteLabelled(w, metrics.Gauge, prefix+address+"logins", underWay)
	metrics.WriteLabelled(w, metrics.Gauge, prefix+address+"waiting", waiting)
	metrics.WriteLabelled(w, metrics.Gauge, prefix+address+"turned_away", turned)
}

// writeCertificates writes when the certificates end that clients have been given.
func (s *service) writeCertificates(w io.Writer) {
	ends := map[string]int64{}
	for _, c := range s.certificates.Ends(maxShown) {
		ends[metrics.Labels("file", c.File, "kind", c.Kind)] = c.NotAfter.Unix()
	}
	metrics.WriteLabelled(w, metrics.Gauge, prefix+"certificate_expiry_timestamp_seconds", ends)
}
