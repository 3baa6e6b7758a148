package metrics

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Kind is what Prometheus is told of a metric.
type Kind string

// A Counter only grows, a Gauge goes up and down.
const (
	Counter Kind = "counter"
	Gauge   Kind = "gauge"
)

// Labels are those of one sample, from their names and values.
func Labels(pairs ...string) string {
	var all []string
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, fmt.Sprintf("%s=%q", pairs[i], pairs[i+1]))
	}
	return "{" + strings.Join(all, ",") + "}"
}

// Write writes a metric without labels in Prometheus' text format. What is below 0 is 0.
func Write(w io.Writer, kind Kind, name string, value int64) {
	WriteLabelled(w, kind, name, map[string]int64{"": value})
}

// WriteLabelled writes the samples of a metric by their Labels.
func WriteLabelled(w io.Writer, kind Kind, name string, values map[string]int64) {
	if len(values) > 0 {
		writeHead(w, string(kind), name)
	}
	for _, labels := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(w, "%s%s %d\n", name, labels, max(values[labels], 0))
	}
}

func writeHead(w io.Writer, kind, name string) {
	fmt.Fprintf(w, "# HELP %s\n# TYPE %s %s\n", name, name, kind)
}
