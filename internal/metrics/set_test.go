package metrics

import (
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/tests/metricstest"
	"mailproxy/tests/testlog"
)

// TestSet: what many goroutines count at the same time is in the text, each value in its bucket.
func TestSet(t *testing.T) {
	s := NewSet()
	bounds := []float64{0.1, 1}
	s.Add("shown_total", Labels("result", "none"), 0)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			s.Add("logins_total", Labels("result", "ok", "mailhost", "a"), 1)
			s.Add("logins_total", Labels("result", "ok", "mailhost", "b"), 2)
			for _, value := range []float64{0.0625, 0.1, 0.5, 2} {
				s.Observe("login_seconds", Labels("result", "ok"), bounds, value)
			}
		})
	}
	all.Wait()
	s.Observe("login_seconds", Labels("result", "refused"), bounds, 3)
	var out strings.Builder
	s.Write(&out)
	got := metricstest.Lint(t, out.String())
	want := map[string]float64{
		`shown_total{result="none"}`: 0, `logins_total{result="ok",mailhost="a"}`: 10,
		`logins_total{result="ok",mailhost="b"}`:           20,
		`login_seconds_bucket{result="ok",le="0.1"}`:       20,
		`login_seconds_bucket{result="ok",le="1"}`:         30,
		`login_seconds_bucket{result="ok",le="+Inf"}`:      40,
		`login_seconds_count{result="ok"}`:                 40,
		`login_seconds_bucket{result="refused",le="0.1"}`:  0,
		`login_seconds_bucket{result="refused",le="1"}`:    0,
		`login_seconds_bucket{result="refused",le="+Inf"}`: 1,
		`login_seconds_sum{result="refused"}`:              3,
		`login_seconds_count{result="refused"}`:            1,
	}
	for name, value := range want {
		if n, shown := got[name]; !shown || n != value {
			t.Errorf("%s: %v, want %v", name, n, value)
		}
	}
	if sum := got[`login_seconds_sum{result="ok"}`]; sum < 26.62 || sum > 26.63 || len(got) != len(want)+1 {
		t.Errorf("sum %v:\n%s", sum, out.String())
	}
}

// TestSlowReader: while somebody takes the text slowly, logins are counted.
func TestSlowReader(t *testing.T) {
	s := NewSet()
	s.Add("logins_total", "", 1)
	s.Write(writerFunc(func(string) {
		counted := make(chan struct{})
		go func() { s.Add("logins_total", "", 1); close(counted) }()
		select {
		case <-counted:
		case <-time.After(testlog.Patience):
			t.Error("a login waits for the one who reads the metrics")
		}
	}))
}
