// Package logins measures what logins cost a resident front end, beside the proxies that are installed, in
// one run: eight clients connect, log in and log out, one after the other.
//
//	go test -run '^$' -bench . -benchtime 1x -timeout 60m ./tests/bench/logins
//	go test -run '^$' -bench IMAP/plain -benchtime 1x ./tests/bench/logins -turns 3
//
// It prints Markdown for docs/performance.md, which has the method.
package logins

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/bench/mailhost"
	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
)

func TestMain(m *testing.M) {
	switch {
	case mailhost.Started():
		os.Exit(mailhost.Run())
	case os.Args[0] == nginxAuthName:
		os.Exit(runNginxAuth())
	}
	os.Exit(harness.Main(m))
}

var (
	turns    = flag.Int("turns", 7, "measurements of each candidate")
	duration = flag.Duration("turn", 2*time.Second, "how long one takes")
)

func BenchmarkIMAP(b *testing.B) { bench(b, harness.IMAP) }
func BenchmarkPOP3(b *testing.B) { bench(b, harness.POP3) }

func bench(b *testing.B, protocol harness.Protocol) {
	for _, security := range securities {
		b.Run(strings.NewReplacer(" ", "-", ",", "").Replace(security), func(b *testing.B) {
			run(b, os.Stdout, kind{Protocol: protocol, security: security}, *turns, *duration)
		})
	}
}

// The tool itself works: every candidate lets everybody in, over TLS too, and what it prints is complete.
func TestTool(t *testing.T) {
	for _, k := range []kind{
		{Protocol: harness.IMAP, security: plain}, {Protocol: harness.POP3, security: ecdsa},
		{Protocol: harness.IMAP, security: resumed},
	} {
		t.Run(k.Name+" "+k.security, func(t *testing.T) {
			var out strings.Builder
			run(t, &out, k, 1, 30*time.Millisecond)
			for _, want := range []string{"| resident | ", "| Dovecot | ", "| nginx | ", "Goals: "} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in:\n%s", want, &out)
				}
			}
		})
	}
}

// figures are what one candidate was measured at.
type figures struct {
	cpu, auth, both measure.Series // milliseconds a login
	rate            measure.Series // logins a second
	p50, p99        measure.Series // milliseconds
	logins, again   int
}

// run measures one way to log in and prints the table.
func run(t testing.TB, out io.Writer, k kind, turns int, d time.Duration) {
	all := candidates(t, k)
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.name
	}
	measured := make([]figures, len(all))
	first := make([]bool, len(all))
	load := loadAverage(t)
	measure.Alternate(turns, names, func(i int) float64 {
		proxy, auth := all[i].cpu(t)
		r := work(t, k, all[i].addr, d)
		proxyAfter, authAfter := all[i].cpu(t)
		if !first[i] { // does not count
			first[i] = true
			return 0
		}
		measured[i].add(r, proxyAfter-proxy, authAfter-auth)
		return 0
	})
	fmt.Fprintf(out, "\n### %s, %s\n\n%d clients, medians of %d turns of %v; load average %s before, %s "+
		"after.\n\n",
		k.Name, k.security, clients, turns, d, load, loadAverage(t))
	print(out, k, all, measured)
	goals(out, k, byName(all, measured))
}

func (f *figures) add(r turn, proxy, auth time.Duration) {
	n := float64(r.logins)
	note := func(s *measure.Series, v float64) { s.Values = append(s.Values, v) }
	note(&f.cpu, ms(proxy)/n)
	note(&f.auth, ms(auth)/n)
	note(&f.both, ms(proxy+auth)/n)
	note(&f.rate, n/r.seconds)
	note(&f.p50, measure.Median(r.times))
	note(&f.p99, measure.Percentile(r.times, 99))
	f.logins += r.logins
	f.again += r.again
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func byName(all []*candidate, measured []figures) map[string]figures {
	names := map[string]figures{}
	for i, c := range all {
		names[c.name] = measured[i]
	}
	return names
}

// print writes the table. Ratios of processor time, rate and waiting are to Dovecot's, those with the
// authentication service to nginx's.
func print(out io.Writer, k kind, all []*candidate, measured []figures) {
	names := byName(all, measured)
	columns := []string{"", "CPU, ms", "to Dovecot", "its auth service, ms", "both, ms", "to nginx", "logins/s",
		"to Dovecot", "p50, ms", "to Dovecot", "p99, ms"}
	if k.security == resumed {
		columns = append(columns, "resumed")
	}
	row := func(cells []string) { fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | ")) }
	row(columns)
	fmt.Fprintln(out, strings.Repeat("|---", len(columns))+"|")
	for i, c := range all {
		f := measured[i]
		auth := "inside"
		if c.auth != nil {
			auth = fmt.Sprintf("%.3f", f.auth.Median())
		}
		cells := []string{c.name,
			fmt.Sprintf("%.3f", f.cpu.Median()), fmt.Sprintf("%.2f", f.cpu.Ratio(names[dovecot].cpu)), auth,
			fmt.Sprintf("%.3f", f.both.Median()), fmt.Sprintf("%.2f", f.both.Ratio(names[nginx].both)),
			fmt.Sprintf("%.0f", f.rate.Median()), fmt.Sprintf("%.2f", f.rate.Ratio(names[dovecot].rate)),
			fmt.Sprintf("%.2f", f.p50.Median()), fmt.Sprintf("%.2f", f.p50.Ratio(names[dovecot].p50)),
			fmt.Sprintf("%.2f", f.p99.Median())}
		if k.security == resumed {
			cells = append(cells, fmt.Sprintf("%d %%", f.again*100/max(f.logins, 1)))
		}
		row(cells)
	}
}

// goals says which of the goals the resident front end meets.
func goals(out io.Writer, k kind, names map[string]figures) {
	us, d, n := names[ownEngine], names[dovecot], names[nginx]
	var list []string
	goal := func(what string, value, limit float64, most bool) {
		verdict := "met"
		if most && !(value <= limit) || !most && !(value >= limit) {
			verdict = "**missed**"
		}
		list = append(list, fmt.Sprintf("%s %.2f (%s %.2f): %s", what, value,
			map[bool]string{true: "at most", false: "at least"}[most], limit, verdict))
	}
	switch k.security {
	case plain:
		goal("CPU", us.cpu.Median(), 0.40, true)
		goal("CPU to Dovecot", us.cpu.Ratio(d.cpu), 0.7, true)
		goal("CPU with authdaemond to nginx with its service", us.both.Ratio(n.both), 1, true)
	case ecdsa:
		goal("CPU to nginx", us.cpu.Ratio(n.cpu), 1, true)
	}
	goal("rate to Dovecot", us.rate.Ratio(d.rate), 1.2, false)
	goal("p50 to Dovecot", us.p50.Ratio(d.p50), 1, true)
	fmt.Fprintf(out, "\nGoals: %s.\n", strings.Join(list, "; "))
}

// loadAverage is that of the last minute.
func loadAverage(t testing.TB) string {
	t.Helper()
	text := harness.ReadFile(t, "/proc/loadavg")
	first, _, _ := strings.Cut(text, " ")
	return cmp.Or(first, "unknown")
}
