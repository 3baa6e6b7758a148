// Package metricstest checks what a program tells Prometheus.
package metricstest

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	head   = regexp.MustCompile(`^# (HELP|TYPE) ([a-z_]+)(?: (.+))?$`)
	sample = regexp.MustCompile(`^([a-z_]+)(\{(?:[a-z]+="[^"\\]*",?)+\})? ([0-9.e+-]+)$`)
	bound  = regexp.MustCompile(`,le="([^"]+)"\}$`)
)

// Lint checks the text against the rules of Prometheus' text format 0.0.4: each metric has its HELP
// and TYPE once and before its samples, which stand together and are all different; a histogram's buckets
// do not fall, and the last is its count. It returns the samples.
func Lint(t testing.TB, text string) map[string]float64 {
	t.Helper()
	samples, types := map[string]float64{}, map[string]string{}
	family, last := "", 0.0
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if h := head.FindStringSubmatch(line); h != nil {
			if _, twice := types[h[2]]; h[1] == "TYPE" && (twice || family != h[2]) || h[1] == "HELP" && twice {
				t.Fatalf("out of place: %s", line)
			}
			family = h[2]
			if h[1] == "TYPE" {
				types[family] = h[3]
			}
			continue
		}
		x := sample.FindStringSubmatch(line)
		if x == nil {
			t.Fatalf("not a sample: %q", line)
		}
		name, ok := x[1], types[family] != ""
		if types[family] == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				name = strings.TrimSuffix(name, suffix)
			}
		}
		value, err := strconv.ParseFloat(x[3], 64)
		if _, twice := samples[x[1]+x[2]]; twice || err != nil || !ok || name != family {
			t.Fatalf("twice, not a number or under a wrong head: %s", line)
		}
		samples[x[1]+x[2]] = value
		switch b := bound.FindStringSubmatch(x[2]); {
		case b == nil:
		case value < last:
			t.Fatalf("a bucket falls: %s", line)
		case b[1] == "+Inf":
			count := strings.Replace(strings.TrimSuffix(line, x[3]), "_bucket", "_count", 1)
			if !strings.Contains(text, strings.Replace(count, b[0], "}", 1)+x[3]+"\n") {
				t.Fatalf("the count is not %s", line)
			}
			last = 0
		default:
			last = value
		}
	}
	return samples
}
