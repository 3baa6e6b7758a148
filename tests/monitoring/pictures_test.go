package monitoring

import (
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
)

// drawn are the pictures of docs/operating.md: file, title, unit and what is asked.
var drawn = []struct{ file, title, unit, expr string }{
	{"logins", "logins a second, by result", "/s", `sum by (result) (rate(mailproxy_logins_total[5s]))`},
	{"times", "seconds that 95 of 100 logins take", " s",
		`histogram_quantile(0.95, sum by (protocol, le) (rate(mailproxy_login_seconds_bucket{result="ok"}[5s])))`},
	{"sessions", "sessions at each mailhost", "", `sum by (mailhost) (mailproxy_mailhost_sessions)`},
	{"questions", "questions to the account database a second, by result", "/s",
		`sum by (result) (rate(authdaemond_requests_total[5s]))`},
	{"descriptors", "file descriptors, share of the limit", "",
		`process_open_fds{job=~"mailproxy-.+"} / process_max_fds`},
}

// colours are those of curves; results have their own.
var colours = []string{"#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#17becf"}

var ofResult = map[string]string{"ok": "#2ca02c", "refused": "#ff7f0e", "temporary": "#d62728",
	"limit": "#9467bd"}

// draw draws the run, whose states began at these seconds.
func (p *prometheus) draw(t *testing.T, begin []float64) {
	t.Helper()
	for _, d := range drawn {
		plot := measure.Plot{Title: d.title, XLabel: "seconds", Y: measure.Axis{Unit: d.unit}}
		low, high, end := begin[0], 0.0, 0.0
		if *pictures {
			low = lasts.Seconds() / 2
		}
		for i, s := range p.query(t, d.expr) {
			from, _ := slices.BinarySearch(s.x, low)
			c := measure.Curve{Name: named(s.labels), Colour: colours[i%len(colours)], X: s.x[from:], Y: s.y[from:]}
			if colour := ofResult[s.labels["result"]]; colour != "" {
				c.Colour = colour
			}
			if len(c.X) > 0 {
				high, end = max(high, slices.Max(c.Y)), max(end, c.X[len(c.X)-1])
				plot.Curves = append(plot.Curves, c)
			}
		}
		if len(plot.Curves) == 0 {
			t.Errorf("%s: nothing to draw", d.title)
			continue
		}
		plot.Y.High, plot.Y.Marks = scale(high * 1.2)
		plot.X = measure.Axis{Low: low, High: end}
		for x := math.Ceil(low/10) * 10; x <= end; x += 10 {
			plot.X.Marks = append(plot.X.Marks, x)
		}
		for i, s := range states {
			plot.Events = append(plot.Events, measure.Event{X: begin[i], Name: s.name})
		}
		if !*pictures {
			continue
		}
		path := filepath.Join(harness.Root(t), "docs", "operating-"+d.file+".svg")
		harness.WriteFile(t, path, plot.SVG(), 0o644)
	}
}

// named are a series' labels, without those that all of them have.
func named(labels map[string]string) string {
	labels = maps.Clone(labels)
	delete(labels, "instance")
	var values []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		values = append(values, labels[name])
	}
	return strings.Join(values, " ")
}

// scale is an axis that ends at a round number, at or above high, with four marks.
func scale(high float64) (top float64, marks []float64) {
	step := math.Pow(10, math.Floor(math.Log10(max(high, 0.01))))
	for _, part := range []float64{1.2, 1.6, 2, 3, 4, 5, 6, 8, 10, 12} {
		if top = part * step; top >= high {
			break
		}
	}
	for i := range 5 {
		marks = append(marks, math.Round(top*float64(i)/4*1e4)/1e4)
	}
	return top, marks
}
