package idle

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
)

const (
	rateClients = 8 // that log in at a time
	rateTurns   = 5
	rateTime    = 2 * time.Second // of a turn
)

// rates are logins a second against open sessions.
type rates struct {
	n    []float64
	rate []float64 // medians of the turns
	cpu  []float64 // milliseconds a login, of the proxy
}

// BenchmarkRate: logins a second of the resident mode while there are N open sessions, drawn into
// docs/logins.svg. It prints Markdown.
func BenchmarkRate(b *testing.B) {
	ns := numbers(100, 300, 1000, 3000, 9500)
	curves := map[string]rates{}
	for _, s := range setups {
		if !slices.Contains([]string{"resident", "resident-relayd"}, s.name) {
			continue
		}
		b.Run(s.name, func(b *testing.B) { curves[s.name] = ratesOf(b, s, ns) })
	}
	if len(curves) < 2 {
		return // -bench chose one of them
	}
	document(b, "logins.svg", drawRates(curves))
	printRates(b, ns, curves)
}

// ratesOf logs sessions in, which stay, and measures logins beside them at each number in ns.
func ratesOf(b *testing.B, s setup, ns []int) (r rates) {
	b.Helper()
	g, addr := world(b, s, false)
	var c crowd
	defer func() { c.close() }()
	for _, n := range ns {
		c.grow(b, n, addr, false)
		var rate, cpu []float64
		for turn := range rateTurns + 1 {
			before, start := g.Seconds(b), time.Now()
			logins := loginsFor(b, addr, rateTime)
			if turn == 0 { // does not count
				continue
			}
			rate = append(rate, float64(logins)/time.Since(start).Seconds())
			cpu = append(cpu, (g.Seconds(b)-before)/float64(logins)*1000)
		}
		r.n = append(r.n, float64(n))
		r.rate = append(r.rate, measure.Median(rate))
		r.cpu = append(r.cpu, measure.Median(cpu))
		c.alive(b)
	}
	return r
}

// loginsFor has clients log in and out until the time is over, and returns how many logins there were.
func loginsFor(b *testing.B, addr string, d time.Duration) int {
	b.Helper()
	var counts [rateClients]int
	var errs [rateClients]error
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	for i := range counts {
		wg.Go(func() {
			for errs[i] == nil && time.Now().Before(end) {
				x, err := login(addr, false)
				if err == nil {
					err = x.command("LOGOUT")
					x.Close()
				}
				errs[i] = err
				counts[i]++
			}
		})
	}
	wg.Wait()
	sum := 0
	for i := range counts {
		if errs[i] != nil {
			b.Fatal(errs[i])
		}
		sum += counts[i]
	}
	return sum
}

func drawRates(curves map[string]rates) string {
	highest := 0.0
	for _, r := range curves {
		highest = max(highest, slices.Max(r.rate))
	}
	step := 100.0
	for highest/step > 8 {
		step *= 2
	}
	p := measure.Plot{
		Title: "resident mode: logins a second beside N open sessions", XLabel: "open sessions", X: sessions,
		Y: measure.Axis{High: highest * 1.3},
		Curves: []measure.Curve{
			{Name: "its own engine", Colour: "#1f77b4", X: curves["resident"].n, Y: curves["resident"].rate},
			{Name: "with relayd", Colour: "#d62728", X: curves["resident-relayd"].n,
				Y: curves["resident-relayd"].rate},
		},
	}
	for mark := 0.0; mark < p.Y.High; mark += step {
		p.Y.Marks = append(p.Y.Marks, mark)
	}
	return p.SVG()
}

func printRates(b *testing.B, ns []int, curves map[string]rates) {
	average, _, _ := strings.Cut(harness.ReadFile(b, "/proc/loadavg"), " ")
	fmt.Printf("\n### Logins beside open sessions\n\n%d clients, medians of %d turns of %v; load average %s "+
		"at the end.\n\n", rateClients, rateTurns, rateTime, average)
	row := func(name, format string, values []float64) {
		fmt.Printf("| %s", name)
		for _, v := range values {
			fmt.Printf(" | "+format, v)
		}
		fmt.Println(" |")
	}
	fmt.Print("| open sessions")
	for _, n := range ns {
		fmt.Printf(" | %d", n)
	}
	fmt.Println(" |\n" + strings.Repeat("|---", len(ns)+1) + "|")
	for _, name := range []string{"resident", "resident-relayd"} {
		row(name+", logins/s", "%.0f", curves[name].rate)
		row(name+", CPU a login, ms", "%.3f", curves[name].cpu)
	}
}
