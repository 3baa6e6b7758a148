package measure

import (
	"math"
	"os"
	"strings"
	"testing"
)

func TestMedianAndRatio(t *testing.T) {
	if m := Median([]float64{5, 1, 3}); m != 3 {
		t.Errorf("median %v", m)
	}
	if m := Median([]float64{4, 1, 2, 3}); m != 2.5 {
		t.Errorf("median of an even number %v", m)
	}
	if !math.IsNaN(Median(nil)) {
		t.Error("median of nothing")
	}
	base, other := Series{Values: []float64{1, 10, 100}}, Series{Values: []float64{2, 20, 50}}
	if r := other.Ratio(base); r != 2 {
		t.Errorf("ratio %v", r)
	}
	if p := Percentile([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 99); p != 10 {
		t.Errorf("99 %% are below %v", p)
	}
}

func TestAlternate(t *testing.T) {
	order := ""
	all := Alternate(2, []string{"a", "b"}, func(i int) float64 {
		order += string(rune('a' + i))
		return float64(i + 1)
	})
	if order != "ababba" || len(all[1].Values) != 2 {
		t.Errorf("order %s, %v", order, all)
	}
	var out strings.Builder
	Print(&out, "Title", "ms", 0.9, all)
	if !strings.Contains(out.String(), "| b | 2.000 | 2.000 .. 2.000 | 2.00 (goal 0.90) |") {
		t.Error(out.String())
	}
}

func TestProcFigures(t *testing.T) {
	before := CPU(t, os.Getpid())
	x := 0
	for CPU(t, os.Getpid()) == before {
		x++
	}
	if PrivateKiB(t, os.Getpid()) < 100 {
		t.Error("no private memory")
	}
	if n := len(Children(t, os.Getpid())); n != 0 {
		t.Errorf("%d children", n)
	}
}
