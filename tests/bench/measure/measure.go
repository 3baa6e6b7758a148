// Package measure compares programs that do the same work in the same run: what they cost in processor
// time, memory and waiting. The candidates take turns, so that whatever else the machine does meets all of
// them; results are medians over the turns, and ratios to the first candidate within each turn.
package measure

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Series is what one candidate was measured at, one value a turn.
type Series struct {
	Name   string
	Values []float64
}

// Median is the middle value.
func (s Series) Median() float64 { return Median(s.Values) }

// Median is the middle of the values, NaN without any.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Percentile is the value that p per cent of the values do not exceed.
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*p/100))]
}

// Ratio is the median of the turns' ratios to the base.
func (s Series) Ratio(base Series) float64 {
	var ratios []float64
	for i, v := range s.Values {
		ratios = append(ratios, v/base.Values[i])
	}
	return Median(ratios)
}

// Alternate lets each candidate have its turn, in the opposite order every other time, after one turn each
// that does not count.
func Alternate(turns int, names []string, work func(candidate int) float64) []Series {
	all := make([]Series, len(names))
	for i, name := range names {
		all[i].Name = name
		work(i)
	}
	for turn := range turns {
		for n := range names {
			i := n
			if turn%2 == 1 {
				i = len(names) - 1 - n
			}
			all[i].Values = append(all[i].Values, work(i))
		}
	}
	return all
}

// Print writes a Markdown table: median, smallest and largest value, and the ratio to the first candidate.
// A goal is what the ratio may be; 0 = none.
func Print(w io.Writer, title, unit string, goal float64, all []Series) {
	fmt.Fprintf(w, "\n### %s\n\n| | %s, median | smallest .. largest | ratio |\n|---|---|---|---|\n", title,
		unit)
	for i, s := range all {
		ratio := "1"
		if i > 0 {
			ratio = fmt.Sprintf("%.2f", s.Ratio(all[0]))
			if goal > 0 {
				ratio += fmt.Sprintf(" (goal %.2f)", goal)
			}
		}
		fmt.Fprintf(w, "| %s | %s | %s .. %s | %s |\n", s.Name, number(s.Median()), number(slices.Min(s.Values)),
			number(slices.Max(s.Values)), ratio)
	}
}

func number(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// CPU returns the processor time that processes and all their ended and waited-for children have used,
// user and system together. The kernel takes it from the scheduler's clock and shows it in steps of 10 ms:
// measure at least a second.
func CPU(t testing.TB, pids ...int) (sum time.Duration) {
	t.Helper()
	for _, pid := range pids {
		used, err := cpu(pid)
		if err != nil {
			t.Fatal(err)
		}
		sum += used
	}
	return sum
}

func cpu(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field, the program's name, may hold anything but ends with the last parenthesis.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil
}

// Children returns the processes that a process has started itself and that are still there.
func Children(t testing.TB, pid int) []int {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for _, field := range strings.Fields(string(text)) {
			child, _ := strconv.Atoi(field)
			all = append(all, child)
		}
	}
	return all
}

// PrivateKiB returns the memory that only this process has: what another one of its kind would cost.
func PrivateKiB(t testing.TB, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && (fields[0] == "Private_Clean:" || fields[0] == "Private_Dirty:") {
			kib, _ := strconv.ParseFloat(fields[1], 64)
			total += kib
		}
	}
	return total
}
