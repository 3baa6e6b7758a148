package main

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// wantMetrics asks for the metrics, looks for lines, and returns all.
func wantMetrics(t *testing.T, s *testService, lines string) string {
	t.Helper()
	text, _, err := ask(s.socket, "stats")
	if err != nil {
		t.Fatal(err)
	}
	lintMetrics(t, text)
	have := strings.Split(text, "\n")
	for want := range strings.SplitSeq(lines, "\n") {
		if !slices.Contains(have, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	return text
}

var (
	metricHead   = regexp.MustCompile(`^# (HELP|TYPE) ([a-z_]+)(?: (.+))?$`)
	metricSample = regexp.MustCompile(`^([a-z_]+)(\{(?:[a-z]+="[^"\\]*",?)+\})? ([0-9.e+-]+)$`)
	metricBound  = regexp.MustCompile(`,le="([^"]+)"\}$`)
)

// lintMetrics checks the text against the rules of Prometheus' text format 0.0.4: each metric has its HELP
// and TYPE once and before its samples, which stand together and are all different; a histogram's buckets
// do not fall, and the last is its count. It returns the samples.
func lintMetrics(t *testing.T, text string) map[string]float64 {
	t.Helper()
	samples, types := map[string]float64{}, map[string]string{}
	family, last := "", 0.0
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if h := metricHead.FindStringSubmatch(line); h != nil {
			if _, twice := types[h[2]]; h[1] == "TYPE" && (twice || family != h[2]) || h[1] == "HELP" && twice {
				t.Fatalf("out of place: %s", line)
			}
			family = h[2]
			if h[1] == "TYPE" {
				types[family] = h[3]
			}
			continue
		}
		x := metricSample.FindStringSubmatch(line)
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
		switch bound := metricBound.FindStringSubmatch(x[2]); {
		case bound == nil:
		case value < last:
			t.Fatalf("a bucket falls: %s", line)
		case bound[1] == "+Inf":
			count := strings.Replace(strings.TrimSuffix(line, x[3]), "_bucket", "_count", 1)
			if !strings.Contains(text, strings.Replace(count, bound[0], "}", 1)+x[3]+"\n") {
				t.Fatalf("the count is not %s", line)
			}
			last = 0
		default:
			last = value
		}
	}
	return samples
}

// TestManual: man/relayd.8 has every metric, and no other.
func TestManual(t *testing.T) {
	s := startService(t)
	s.counters.logins.add(&login{mailhost: "mail1", failures: []failure{{mailhost: "mail2"}}})
	text := wantMetrics(t, s, "")
	page, err := os.ReadFile("../../man/relayd.8")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n.Sh METRICS\n")
	section, _, _ = strings.Cut(section, "\n.Sh ")
	name := regexp.MustCompile(`mailproxy_[a-z_]+`)
	inManual := name.FindAllString(section, -1)
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
