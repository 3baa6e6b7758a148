package idle

import (
	"path/filepath"
	"testing"

	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
)

// BenchmarkGrowth: memory and CPU against the number of sessions, drawn into docs/idle.svg.
func BenchmarkGrowth(b *testing.B) {
	ns := numbers(100, 300, 1000, 3000, 9500)
	curves := map[string][]memory{}
	for _, encrypted := range []bool{false, true} {
		b.Run("relayd/"+kind(encrypted), func(b *testing.B) {
			for b.Loop() {
				curves[kind(encrypted)] = memoryOf(b, setups[0], encrypted, ns)
			}
			for _, m := range curves[kind(encrypted)] {
				b.Logf("N=%d: %.2f KiB private, %.2f KiB in the cgroup, %.2f ms of CPU to log in", m.n, m.private/1024,
					m.cgroup/1024, m.secondsPerLogin*1000)
			}
			last := curves[kind(encrypted)][len(ns)-1]
			b.ReportMetric(last.private/1024, "KiB-private/session")
			b.ReportMetric(last.cgroup/1024, "KiB-cgroup/session")
		})
	}
	if len(curves) == 2 {
		document(b, "idle.svg", draw(curves))
	}
}

// document writes a file of the documentation.
func document(b *testing.B, name, text string) {
	b.Helper()
	harness.WriteFile(b, filepath.Join(harness.Root(b), "docs", name), text, 0o644)
}

// draw plots MiB against N, both on logarithmic scales: a straight line of slope one is a constant price for
// a session.
func draw(curves map[string][]memory) string {
	p := measure.Plot{
		Title: "relayd: memory of N idle sessions, growth since the start", XLabel: "sessions", X: sessions,
		Y: measure.Axis{Low: 0.01, High: 200, Logarithmic: true, Marks: []float64{0.01, 0.1, 1, 10, 100},
			Unit: " MiB"},
	}
	for _, c := range []struct {
		kind, name, colour string
		value              func(memory) float64
	}{
		{"plain", "plain, private", "#1f77b4", func(m memory) float64 { return m.private }},
		{"plain", "plain, cgroup with the kernel's share", "#7fb3d9", func(m memory) float64 { return m.cgroup }},
		{"tls", "TLS, private", "#d62728", func(m memory) float64 { return m.private }},
		{"tls", "TLS, cgroup with the kernel's share", "#ef9a9a", func(m memory) float64 { return m.cgroup }},
	} {
		curve := measure.Curve{Name: c.name, Colour: c.colour}
		for _, m := range curves[c.kind] {
			curve.X = append(curve.X, float64(m.n))
			curve.Y = append(curve.Y, c.value(m)*float64(m.n)/(1<<20))
		}
		p.Curves = append(p.Curves, curve)
	}
	return p.SVG()
}

// sessions is the axis of how many there are.
var sessions = measure.Axis{
	Low: 100, High: 20000, Logarithmic: true, Marks: []float64{100, 300, 1000, 3000, 10000, 20000},
}
