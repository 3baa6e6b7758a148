package metrics

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Set is counters and histograms by name and Labels. Its methods may be called by many goroutines.
//
// It is not VictoriaMetrics/metrics, which authdaemond has: what that library prepares when a program starts
// is a tenth of a login where each connection has a process (docs/performance.md, "What a login costs").
type Set struct {
	mu         sync.Mutex
	counters   map[string]map[string]int64
	histograms map[string]map[string]*histogram
}

// histogram counts values by bucket. The last bucket is for those above all bounds.
type histogram struct {
	bounds  []float64
	buckets []int64
	sum     float64
}

// NewSet returns one without any metrics.
func NewSet() *Set {
	return &Set{counters: map[string]map[string]int64{}, histograms: map[string]map[string]*histogram{}}
}

// Add adds n to a counter. With 0 it is shown from then on.
func (s *Set) Add(name, labels string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counters[name] == nil {
		s.counters[name] = map[string]int64{}
	}
	s.counters[name][labels] += n
}

// Observe adds a value to a histogram. bounds are the upper limits of its buckets, in order, and the same in
// each call.
func (s *Set) Observe(name, labels string, bounds []float64, value float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.histograms[name] == nil {
		s.histograms[name] = map[string]*histogram{}
	}
	h := s.histograms[name][labels]
	if h == nil {
		h = &histogram{bounds: bounds, buckets: make([]int64, len(bounds)+1)}
		s.histograms[name][labels] = h
	}
	bucket, _ := slices.BinarySearch(bounds, value)
	h.buckets[bucket]++
	h.sum += value
}

// Write writes all of them in Prometheus' text format. A slow reader does not block counting.
func (s *Set) Write(w io.Writer) {
	_, _ = w.Write(s.text())
}

func (s *Set) text() []byte {
	var out bytes.Buffer
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.counters)) {
		WriteLabelled(&out, Counter, name, s.counters[name])
	}
	for _, name := range slices.Sorted(maps.Keys(s.histograms)) {
		writeHead(&out, "histogram", name)
		for _, labels := range slices.Sorted(maps.Keys(s.histograms[name])) {
			s.histograms[name][labels].write(&out, name, labels)
		}
	}
	return out.Bytes()
}

func (h *histogram) write(w io.Writer, name, labels string) {
	var count int64
	for i, n := range h.buckets {
		count += n
		bound := "+Inf"
		if i < len(h.bounds) {
			bound = fmt.Sprint(h.bounds[i])
		}
		fmt.Fprintf(w, "%s_bucket%s,le=%q} %d\n", name, strings.TrimSuffix(labels, "}"), bound, count)
	}
	fmt.Fprintf(w, "%s_sum%s %g\n%s_count%s %d\n", name, labels, h.sum, name, labels, count)
}
