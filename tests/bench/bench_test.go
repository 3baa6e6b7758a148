package bench

import (
	"flag"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"mailproxy/tests/bench/mailhost"
	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
)

// size says how much is measured. "make bench" takes the default; the tests a little, to see that the tool
// works.
type size struct {
	turns, logins, noops, idle int
	bytes                      int64
	settle                     time.Duration // how long sessions idle before their memory is read
}

var full = size{turns: 9, logins: 300, noops: 3000, idle: 100, bytes: 1 << 30, settle: 2 * time.Second}

// turns is how often each candidate is measured.
var turns = flag.Int("turns", full.turns, "measurements of each candidate")

func BenchmarkIMAP(b *testing.B) { run(b, os.Stdout, harness.IMAP, given()) }
func BenchmarkPOP3(b *testing.B) { run(b, os.Stdout, harness.POP3, given()) }

func given() size {
	s := full
	s.turns = *turns
	return s
}

// The tool itself works, for both protocols.
func TestTool(t *testing.T) {
	for _, protocol := range harness.Protocols {
		t.Run(protocol.Name, func(t *testing.T) {
			run(t, io.Discard, protocol,
				size{turns: 1, logins: 3, noops: 10, idle: 3, bytes: 10 << 20, settle: 50 * time.Millisecond})
		})
	}
}

// run measures everything about one protocol and prints the tables.
func run(t testing.TB, out io.Writer, protocol harness.Protocol, n size) {
	all := candidates(t, protocol)
	delays := make([][]float64, len(all))
	cpu := measure.Alternate(n.turns, names(all), func(i int) float64 {
		before := all[i].cpu(t)
		for range n.logins {
			start := time.Now()
			s := all[i].login(t)
			delays[i] = append(delays[i], ms(time.Since(start)))
			s.logout(t)
		}
		return ms(all[i].cpu(t)-before) / float64(n.logins)
	})
	measure.Print(out, protocol.Name+": processor time per proxied login and logout", "ms", 1.55, cpu)

	greeting := measure.Alternate(n.turns, names(all), func(i int) float64 {
		var values []float64
		for range n.logins / 3 {
			values = append(values, ms(all[i].greeting(t)))
		}
		return measure.Median(values)
	})
	measure.Print(out, protocol.Name+": from connecting to the greeting", "ms", 0, greeting)
	latency(out, protocol.Name+": from connecting to the answer to the login", all, delays)

	trips := make([][]float64, len(all))
	noops := measure.Alternate(n.turns, names(all), func(i int) float64 {
		s := all[i].login(t)
		defer s.logout(t)
		var values []float64
		for range n.noops {
			start := time.Now()
			s.noop(t)
			values = append(values, float64(time.Since(start))/1000)
		}
		trips[i] = append(trips[i], values...)
		return measure.Median(values)
	})
	measure.Print(out, protocol.Name+": NOOP round trip through the session", "µs", 1, noops)
	latency(out, protocol.Name+": the same, all trips, in µs", all, trips)

	for _, way := range []string{"BULK", "SINK"} {
		bulk := measure.Alternate(n.turns, names(all), func(i int) float64 { return all[i].bulk(t, way, n.bytes) })
		title := map[string]string{"BULK": "to the client", "SINK": "to the mailhost"}[way]
		measure.Print(out, protocol.Name+": processor time per GB "+title, "s", 0.5, bulk)
	}
	memory := measure.Alternate(min(n.turns, 3), names(all),
		func(i int) float64 { return all[i].memory(t, n.idle, n.settle) })
	measure.Print(out,
		fmt.Sprintf("%s: private memory per idle session (%d sessions; relayd counted in full)", protocol.Name,
			n.idle),
		"KiB", 0, memory)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// latency prints medians and tails over all values.
func latency(out io.Writer, title string, all []candidate, values [][]float64) {
	fmt.Fprintf(out, "\n%s: ", title)
	for i, c := range all {
		fmt.Fprintf(out, "%s median %.2f, 99 %% below %.2f; ", c.name, measure.Median(values[i]),
			measure.Percentile(values[i], 99))
	}
	fmt.Fprintln(out)
}

// greeting connects, waits for the greeting and leaves.
func (c candidate) greeting(t testing.TB) time.Duration {
	t.Helper()
	start := time.Now()
	s := c.dial(t)
	took := time.Since(start)
	s.conn.Close()
	return took
}

// bulk moves n bytes through one session and returns the processor time in seconds per GB (10^9 bytes).
func (c candidate) bulk(t testing.TB, way string, n int64) float64 {
	t.Helper()
	before := c.cpu(t)
	s := c.login(t)
	tag := "b "
	if c.protocol.Name == "POP3" {
		tag = ""
	}
	if _, err := fmt.Fprintf(s.conn, "%s%s %d\r\n", tag, way, n); err != nil {
		t.Fatal(err)
	}
	var err error
	if way == "BULK" {
		_, err = io.CopyN(io.Discard, s.in, n)
	} else {
		err = mailhost.Send(s.conn, int(n))
	}
	if err != nil {
		t.Fatal(err)
	}
	s.expect(t, map[string]string{"IMAP": "b OK", "POP3": "+OK"}[c.protocol.Name])
	s.logout(t)
	return (c.cpu(t) - before).Seconds() / (float64(n) / 1e9)
}

// memory holds n sessions and returns the private memory of their processes per session, relayd's included.
func (c candidate) memory(t testing.TB, n int, settle time.Duration) float64 {
	t.Helper()
	var sessions []*session
	for range n {
		sessions = append(sessions, c.login(t))
	}
	time.Sleep(settle) // until what gives memory back when idle has done so
	pids := append(measure.Children(t, c.launcher), c.pids[1:]...)
	total := 0.0
	for _, pid := range pids {
		total += measure.PrivateKiB(t, pid)
	}
	for _, s := range sessions {
		s.noop(t)
		s.logout(t)
	}
	return total / float64(n)
}
