package idle

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkGrowth: memory and CPU against the number of sessions, drawn into docs/idle.svg.
func BenchmarkGrowth(b *testing.B) {
	ns := numbers(100, 300, 1000, 3000, 9500)
	curves := map[string][]memory{}
	for _, encrypted := range []bool{false, true} {
		b.Run("relayd/"+kind(encrypted), func(b *testing.B) {
			for b.Loop() {
				curves[kind(encrypted)] = measure(b, setups[0], encrypted, ns)
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
	root, err := filepath.Abs("../../..")
	if err != nil || len(curves) < 2 {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "docs", "idle.svg"), []byte(draw(curves)), 0o644); err != nil {
		b.Fatal(err)
	}
}

const (
	width, height = 720, 440
	left, right   = 70, 700
	top, bottom   = 40, 380
)

// draw plots MiB against N, both on logarithmic scales: a straight line of slope one is a constant price for
// a session.
func draw(curves map[string][]memory) string {
	var s strings.Builder
	fmt.Fprintf(&s,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n",
		width, height)
	fmt.Fprintf(
		&s,
		`<rect width="%d" height="%d" fill="white"/><text x="%d" y="22" font-size="15">relayd: memory of N idle sessions, growth since the start</text>`+"\n",
		width,
		height,
		left,
	)
	x := func(n float64) float64 { return left + (math.Log10(n)-2)/(math.Log10(20000)-2)*(right-left) }
	y := func(mib float64) float64 {
		return bottom - (math.Log10(max(mib, 0.01))+2)/(math.Log10(200)+2)*(bottom-top)
	}
	for _, n := range []float64{100, 300, 1000, 3000, 10000, 20000} {
		fmt.Fprintf(
			&s,
			`<line x1="%.0f" y1="%d" x2="%.0f" y2="%d" stroke="#ddd"/><text x="%.0f" y="%d" text-anchor="middle">%.0f</text>`+"\n",
			x(n),
			top,
			x(n),
			bottom,
			x(n),
			bottom+18,
			n,
		)
	}
	for _, m := range []float64{0.01, 0.1, 1, 10, 100} {
		fmt.Fprintf(
			&s,
			`<line x1="%d" y1="%.0f" x2="%d" y2="%.0f" stroke="#ddd"/><text x="%d" y="%.0f" text-anchor="end">%g MiB</text>`+"\n",
			left,
			y(m),
			right,
			y(m),
			left-6,
			y(m)+4,
			m,
		)
	}
	line := 0
	for _, c := range []struct {
		kind, name, colour string
		value              func(memory) float64
	}{
		{"plain", "plain, private", "#1f77b4", func(m memory) float64 { return m.private }},
		{"plain", "plain, cgroup with the kernel's share", "#7fb3d9", func(m memory) float64 { return m.cgroup }},
		{"tls", "TLS, private", "#d62728", func(m memory) float64 { return m.private }},
		{"tls", "TLS, cgroup with the kernel's share", "#ef9a9a", func(m memory) float64 { return m.cgroup }},
	} {
		var points []string
		for _, m := range curves[c.kind] {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(float64(m.n)), y(c.value(m)*float64(m.n)/(1<<20))))
		}
		fmt.Fprintf(
			&s,
			`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/><text x="%d" y="%d" fill="%s">%s</text>`+"\n",
			strings.Join(points, " "),
			c.colour,
			left+12,
			top+18+16*line,
			c.colour,
			c.name,
		)
		line++
	}
	fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="middle">sessions</text>`+"\n</svg>\n", (left+right)/2,
		bottom+40)
	return s.String()
}
