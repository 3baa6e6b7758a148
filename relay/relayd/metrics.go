package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"time"
)

// metrics writes the state in Prometheus' text format.
func (s *service) metrics(w io.Writer) {
	var up, down int64
	running, stalled := 0, 0
	s.each(func(_ *loop, x *session) {
		running++
		up += x.flow[client].Moved
		down += x.flow[mailhost].Moved
		if x.flow[client].Pending(&x.end[mailhost]) || x.flow[mailhost].Pending(&x.end[client]) {
			stalled++
		}
	})
	c := &s.counters
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	for _, m := range []struct {
		name, kind, help string
		value            int64
	}{
		{"sessions", "gauge", "Sessions being relayed.", int64(running)},
		{"sessions_reserved", "gauge", "Sessions being relayed or about to be.", int64(s.limits.now())},
		{"sessions_waiting", "gauge", "Sessions with bytes that their reader does not take.", int64(stalled)},
		{"sessions_capacity", "gauge", "Sessions that the descriptor limit allows.", int64(s.limits.capacity)},
		{"sessions_taken_total", "counter", "Sessions taken over.", c.taken.Load()},
		{"sessions_ended_total", "counter", "Sessions that have ended.", c.ended.Load()},
		{"sessions_broken_total", "counter", "Sessions that ended with an error: a reset, a kick.", c.errors.Load()},
		{"refused_total", "counter", "Hand-overs refused by a limit.", c.refused.Load()},
		{"full_total", "counter", "Hand-overs sent back for want of descriptors.", c.full.Load()},
		{"denied_total", "counter", "Callers who may not use the socket.", c.denied.Load()},
		{"reports_malformed_total", "counter", "Reports of logins that make no sense; they are not counted.", c.malformed.Load()},
		{"client_bytes_total", "counter", "Bytes from clients.", c.fromClient.Load() + up},
		{"mailhost_bytes_total", "counter", "Bytes from mailhosts.", c.fromMailhost.Load() + down},
		{"heap_bytes", "gauge", "Memory of the Go heap in use.", int64(mem.HeapInuse)},
		{"uptime_seconds", "counter", "Time since the start.", int64(time.Since(s.started) / time.Second)},
	} {
		fmt.Fprintf(w, "# HELP mailproxy_relayd_%s %s\n# TYPE mailproxy_relayd_%s %s\nmailproxy_relayd_%s %d\n",
			m.name, m.help, m.name, m.kind, m.name, m.value)
	}
	c.logins.write(w)
}

// serveMetrics answers every HTTP request on a listener with the metrics. It speaks no more of HTTP than a scraper
// needs: net/http would double the memory of this program.
func (s *service) serveMetrics(ctx context.Context, l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("metrics: %w", err)
		}
		s.scrape(c) // one at a time: there is one scraper
	}
}

func (s *service) scrape(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	r := bufio.NewReader(io.LimitReader(c, 8192))
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if strings.TrimRight(line, "\r\n") == "" {
			break
		}
	}
	var body strings.Builder
	s.metrics(&body)
	fmt.Fprintf(c, "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", body.Len(), body.String())
}
