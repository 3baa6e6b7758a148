package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailproxy/relay"
	"mailproxy/relay/handoff"
	"mailproxy/tests/relaytest"
	"mailproxy/tests/testlog"
)

// TestDescriptorsUsedUp: every file descriptor of a relayd is taken by callers that say nothing. Its sessions
// go on, scrapes of its metrics do not end it, it can be reloaded, and when there is room again it answers.
func TestDescriptorsUsedUp(t *testing.T) {
	const limit = 64
	metricsSocket := filepath.Join(t.TempDir(), "metrics")
	p := startProcess(t, fmt.Sprintf("%s=%d", noFile, limit), "-metrics", "unix:"+metricsSocket)
	var far [][2]relaytest.Conn
	for i, k := range append(relaytest.TLSKinds()[:1], relaytest.Kinds()[0]) {
		nc, fc := k.Make(t)
		nm, fm := relaytest.TCP(t, 0)
		p.hand(nc, nm, fmt.Sprint("user", i))
		far = append(far, [2]relaytest.Conn{fc, fm})
	}
	proceed := func() {
		t.Helper()
		for _, x := range far {
			relaytest.Exchange(t, x[0], x[1])
			relaytest.Exchange(t, x[1], x[0])
		}
	}
	scrape := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return scrapeUnix(ctx, metricsSocket)
	}
	// useUp has more callers than there are file descriptors: those that wait in the listen queue take what
	// becomes free, as the pipes of sessions that idle do.
	useUp := func() (room func()) {
		t.Helper()
		var callers []net.Conn
		for range limit {
			c, err := net.DialTimeout("unixpacket", p.socket, testlog.Patience)
			if err != nil {
				t.Fatal(err)
			}
			callers = append(callers, c)
		}
		p.until("every descriptor is used", func() bool { return p.openFiles() >= limit })
		return func() {
			for _, c := range callers {
				c.Close()
			}
		}
	}

	proceed()
	p.until("a scrape", func() bool { return scrape(testlog.Patience) == nil })
	for round := range 2 { // before and after a reload
		room := useUp()
		for range 3 {
			p.until("a scrape finds no descriptor", func() bool { return scrape(200*time.Millisecond) != nil })
		}
		proceed()
		// Nobody can hand over now; the session stays whose it was.
		nc, fc := relaytest.TCP(t, 0)
		nm, fm := relaytest.TCP(t, 0)
		more := &relay.Session{Client: nc, Mailhost: nm, Info: info("more")}
		short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if err := (&handoff.Client{Socket: p.socket}).Carry(short, more); !errors.Is(err, relay.ErrUnavailable) {
			t.Errorf("a session was taken without descriptors for it: %v", err)
		}
		cancel()
		here(t, nc, nm, fc, fm)
		if round == 0 {
			p.reload()
			proceed()
		}
		room()
		// The session that nobody took may count until relayd finds that out.
		p.until("a scrape with room again", func() bool { return scrape(testlog.Patience) == nil })
		proceed()
	}
	// A scrape needs one file descriptor, a session several: the callers' may not all be closed yet.
	nc, fc := relaytest.TCP(t, 0)
	nm, fm := relaytest.TCP(t, 0)
	p.until("a session with room again", func() bool {
		return handOver(p.socket, nc, nm, info("last"), "") == nil
	})
	nc.Close()
	nm.Close()
	relaytest.Exchange(t, fc, fm)
	if out, _, err := ask(p.socket, "who"); err != nil || strings.Count(out, "\n") != len(far)+1 {
		t.Errorf("who: %q, %v", out, err)
	}
}

// openFiles is how many file descriptors the newest process has.
func (p *process) openFiles() int {
	pids := p.pids()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pids[len(pids)-1]))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(files)
}

// scrapeUnix asks for the metrics as Prometheus does.
func scrapeUnix(ctx context.Context, socket string) error {
	transport := &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://relayd/metrics", nil)
	if err != nil {
		return err
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && !strings.Contains(string(text), "mailproxy_relayd_sessions 2\n") {
		err = fmt.Errorf("%s\n%s", answer.Status, text)
	}
	return err
}
