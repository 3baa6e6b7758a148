package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"mailproxy/authlib"
	scrape "mailproxy/internal/metrics"
)

// kind and result label a request.
type (
	kind   int
	result int
)

const (
	kindAuth kind = iota
	kindLookup
	kindPassword
	kindEnumerate
	kinds
)

const (
	resultOK result = iota
	resultRefused
	resultTemporary
	results
)

// bounds are the upper limits of the histogram's buckets, in seconds.
var bounds = [...]float64{0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10}

// numbers are the daemon's counters and histograms.
type numbers struct {
	set      *metrics.Set
	requests [kinds][results]*metrics.Counter
	seconds  [kinds]*metrics.PrometheusHistogram
	// turnedAway counts requests that found the queue full or waited too long in it, silent those that never
	// came.
	turnedAway, silent *metrics.Counter
	// denied counts clients that are not among those of -allow.
	denied *metrics.Counter
	// computed and remembered count slow hashes, see hashes.
	computed, remembered *metrics.Counter
}

// newNumbers returns numbers that are all 0; the others are asked for when they are shown.
func newNumbers(hashes, waiting, underWay, connections func() float64) *numbers {
	metrics.ExposeMetadata(true)
	n := &numbers{set: metrics.NewSet()}
	for k, request := range [kinds]string{"auth", "lookup", "password", "enumerate"} {
		for r, result := range [results]string{"ok", "refused", "temporary"} {
			n.requests[k][r] = n.set.NewCounter(
				fmt.Sprintf("authdaemond_requests_total{request=%q,result=%q}", request, result),
			)
		}
		n.seconds[k] = n.set.NewPrometheusHistogramExt(
			fmt.Sprintf("authdaemond_request_seconds{request=%q}", request),
			bounds[:],
		)
	}
	n.turnedAway = n.set.NewCounter("authdaemond_turned_away_total")
	n.silent = n.set.NewCounter("authdaemond_silent_total")
	n.denied = n.set.NewCounter("authdaemond_denied_total")
	n.set.NewGauge("authdaemond_waiting_clients", waiting)
	n.set.NewGauge("authdaemond_requests_under_way", underWay)
	n.computed = n.set.NewCounter(`authdaemond_slow_hashes_total{answer="computed"}`)
	n.remembered = n.set.NewCounter(`authdaemond_slow_hashes_total{answer="remembered"}`)
	n.set.NewGauge("authdaemond_slow_hashes_under_way", hashes)
	n.set.NewGauge("authdaemond_persistent_connections", connections)
	return n
}

// kindOf labels a request.
func kindOf(req authlib.Request) kind {
	switch req.(type) {
	case *authlib.AuthRequest:
		return kindAuth
	case *authlib.LookupRequest:
		return kindLookup
	case *authlib.PasswordRequest:
		return kindPassword
	}
	return kindEnumerate
}

// resultOf labels an answer.
func resultOf(answer []byte, err error) result {
	switch {
	case err != nil:
		return resultTemporary
	case bytes.HasSuffix(answer, []byte(authlib.AnswerFail)):
		return resultRefused
	}
	return resultOK
}

// count counts a request that began at a time.
func (n *numbers) count(k kind, r result, began time.Time) {
	n.requests[k][r].Inc()
	n.seconds[k].UpdateDuration(began)
}

// serveMetrics answers every HTTP request on l with the numbers, until ctx ends.
func (s *server) serveMetrics(ctx context.Context, l net.Listener) {
	scrape.Serve(ctx, l, s.writeMetrics, s.log.Line)
}

// writeMetrics writes the numbers, and what is asked for when they are shown.
func (s *server) writeMetrics(w io.Writer) {
	s.metrics.set.WritePrometheus(w)
	g := s.hold()
	defer g.users.Done()
	up := metrics.NewSet()
	for _, m := range g.modules {
		up.NewGauge(fmt.Sprintf("authdaemond_module_up{module=%q}", m.Name()), func() float64 {
			if _, bad := m.Module.(*broken); bad || m.down.Load() {
				return 0
			}
			return 1
		})
	}
	up.WritePrometheus(w)
	scrape.WriteReload(w, "authdaemond_", s.reloadFailed.Load())
	scrape.WriteDescriptors(w)
}
