package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"mailproxy/authlib"
)

// Counters and durations in Prometheus' text format. The few lines of HTTP that a scraper needs are here: net/http would double
// the daemon's start-up time and memory, which one-shot mode pays for each login.

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

// metrics counts. Its zero value is ready.
type metrics struct {
	requests [kinds][results]atomic.Int64
	buckets  [kinds][len(bounds) + 1]atomic.Int64
	nanos    [kinds]atomic.Int64
	// turnedAway counts requests that found the queue full or waited too long in it, silent those that never came.
	turnedAway, silent atomic.Int64
	// denied counts clients that are not among those of -allow.
	denied atomic.Int64
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
	case string(answer) == authlib.AnswerFail:
		return resultRefused
	}
	return resultOK
}

// count counts a request that took d.
func (m *metrics) count(k kind, r result, d time.Duration) {
	m.requests[k][r].Add(1)
	m.nanos[k].Add(int64(d))
	i := 0
	for i < len(bounds) && d.Seconds() > bounds[i] {
		i++
	}
	m.buckets[k][i].Add(1)
}

// write writes everything in Prometheus' text format.
func (m *metrics) write(w io.Writer, waiting, busy int64) {
	names := [kinds]string{"auth", "lookup", "password", "enumerate"}
	fmt.Fprint(w, "# HELP authdaemond_requests_total Requests by kind and result.\n# TYPE authdaemond_requests_total counter\n")
	for k, name := range names {
		for r, result := range [results]string{"ok", "refused", "temporary"} {
			fmt.Fprintf(w, "authdaemond_requests_total{request=%q,result=%q} %d\n", name, result, m.requests[k][r].Load())
		}
	}
	fmt.Fprint(w, "# HELP authdaemond_request_seconds Time from a request's last byte to its answer.\n# TYPE authdaemond_request_seconds histogram\n")
	for k, name := range names {
		var sum int64
		for i := range m.buckets[k] {
			sum += m.buckets[k][i].Load()
			bound := "+Inf"
			if i < len(bounds) {
				bound = fmt.Sprint(bounds[i])
			}
			fmt.Fprintf(w, "authdaemond_request_seconds_bucket{request=%q,le=%q} %d\n", name, bound, sum)
		}
		fmt.Fprintf(w, "authdaemond_request_seconds_sum{request=%q} %g\n", name, float64(m.nanos[k].Load())/1e9)
		fmt.Fprintf(w, "authdaemond_request_seconds_count{request=%q} %d\n", name, sum)
	}
	for _, c := range []struct {
		name, kind, help string
		value            int64
	}{
		{"authdaemond_turned_away_total", "counter", "Requests closed because too many were under way.", m.turnedAway.Load()},
		{"authdaemond_silent_total", "counter", "Clients that sent no request in time, or none that can be understood.", m.silent.Load()},
		{"authdaemond_denied_total", "counter", "Clients that may not ask.", m.denied.Load()},
		{"authdaemond_waiting_clients", "gauge", "Clients that have not sent their request yet.", waiting},
		{"authdaemond_requests_under_way", "gauge", "Requests that are being answered.", busy},
	} {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s %d\n", c.name, c.help, c.name, c.kind, c.name, c.value)
	}
}

// serveMetrics answers every HTTP request on l with the numbers, until ctx ends.
func (s *server) serveMetrics(ctx context.Context, l net.Listener) {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		// One after the other: a scraper is one client, and must not become many.
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if s.scrape(c) != nil {
			s.debugf("metrics: a request that is not HTTP")
		}
		c.Close()
	}
}

// scrape answers one HTTP request.
func (s *server) scrape(c net.Conn) error {
	r := bufio.NewReader(io.LimitReader(c, 16<<10))
	first, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	for line := first; strings.TrimRight(line, "\r\n") != ""; {
		if line, err = r.ReadString('\n'); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(first, "GET ") {
		_, err = io.WriteString(c, "HTTP/1.0 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
		return err
	}
	var body strings.Builder
	s.metrics.write(&body, s.waiting.Load(), s.underWay.Load())
	_, err = fmt.Fprintf(c, "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n%s", body.Len(), body.String())
	return err
}
