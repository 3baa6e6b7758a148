package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mailproxy/internal/metrics"
	"mailproxy/tests/testlog"
)

func TestMetrics(t *testing.T) {
	a, _ := fakeAsker(t, "", &fake{name: "a", users: []string{"ann"},
		do: func(_ context.Context, user string) error {
			if user == "down" {
				return fmt.Errorf("down")
			}
			return nil
		}})
	s := start(t, a, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var socks sockets
	if err := socks.listenMetrics("127.0.0.1:0", nil); err != nil {
		t.Fatal(err)
	}
	l := socks.scraper
	go s.serveMetrics(ctx, l)
	for _, user := range []string{"ann", "ann", "bob", "down", "down", "down"} {
		s.login(user, user)
	}
	get := func(request string) string {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(c, request)
		text, _ := io.ReadAll(c)
		return string(text)
	}
	var text string
	// A request is counted when its answer has been written.
	testlog.Eventually(func() bool {
		text = get("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
		return strings.Contains(text, `authdaemond_request_seconds_count{request="auth"} 6`)
	})
	for _, want := range []string{
		"HTTP/1.1 200 OK\r\n", "Content-Type: text/plain; version=0.0.4\r\n",
		"# TYPE authdaemond_requests_total counter\n",
		`authdaemond_requests_total{request="auth",result="ok"} 2` + "\n",
		`authdaemond_requests_total{request="auth",result="refused"} 1` + "\n",
		`authdaemond_requests_total{request="auth",result="temporary"} 3` + "\n",
		`authdaemond_requests_total{request="lookup",result="ok"} 0` + "\n",
		`authdaemond_request_seconds_bucket{request="auth",le="+Inf"} 6` + "\n",
		`authdaemond_request_seconds_bucket{request="auth",le="0.0001"} `,
		"# TYPE authdaemond_request_seconds histogram\n",
		`authdaemond_request_seconds_sum{request="lookup"} 0` + "\n", "authdaemond_requests_under_way ",
		"authdaemond_turned_away_total 0\n", "authdaemond_silent_total 0\n",
		"authdaemond_waiting_clients 0\n", "authdaemond_persistent_connections 0\n",
		`authdaemond_slow_hashes_total{answer="remembered"} 0`, "authdaemond_slow_hashes_under_way 0\n",
		`authdaemond_module_up{module="a"} 0` + "\n", "authdaemond_last_reload_successful 1\n", "process_open_fds ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("not there: %q in\n%s", want, text)
		}
	}
	s.login("ann", "ann")
	if !testlog.Eventually(func() bool {
		return strings.Contains(get("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), `authdaemond_module_up{module="a"} 1`)
	}) {
		t.Error("a module that answers again is down")
	}
	manual(t, text)
	if got := get("POST / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 405") {
		t.Errorf("POST: %q", got)
	}
	for _, where := range []string{"0.0.0.0:9143", "192.0.2.1:9143", "9143", "relative/path"} {
		if err := (&sockets{}).listenMetrics(where, nil); !errors.Is(err, metrics.ErrPlace) {
			t.Errorf("listens at %s: %v", where, err)
		}
	}
	var u sockets
	if err := u.listenMetrics(t.TempDir()+"/m", nil); err != nil {
		t.Fatal(err)
	}
	u.scraper.Close()
	u.close()
}

// manual compares what is served with man/authdaemond.8, which has every metric, and no other.
func manual(t *testing.T, text string) {
	t.Helper()
	page, err := os.ReadFile("../../man/authdaemond.8")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n.Sh METRICS\n")
	section, _, _ = strings.Cut(section, "\n.Sh ")
	inManual := regexp.MustCompile(`(?:authdaemond|process)_[a-z_]+`).FindAllString(section, -1)
	var served []string
	for _, head := range regexp.MustCompile(`(?m)^# TYPE (\S+) `).FindAllStringSubmatch(text, -1) {
		served = append(served, head[1])
	}
	slices.Sort(inManual)
	slices.Sort(served)
	if !slices.Equal(inManual, served) {
		t.Errorf("in the manual:\n%s\nserved:\n%s", strings.Join(inManual, "\n"), strings.Join(served, "\n"))
	}
}
