package counters

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Labels are those of one sample, from their names and values.
func Labels(pairs ...string) string {
	var all []string
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, fmt.Sprintf("%s=%q", pairs[i], pairs[i+1]))
	}
	return "{" + strings.Join(all, ",") + "}"
}

// WriteLabelled writes one metric with its labels. Its head is written once.
func WriteLabelled(w io.Writer, name string, write func(io.Writer, string, uint64), values map[string]int64) {
	for i, labels := range slices.Sorted(maps.Keys(values)) {
		var line strings.Builder
		write(&line, name+labels, uint64(max(values[labels], 0)))
		text := line.String()
		if i > 0 {
			text = text[strings.LastIndexByte(strings.TrimSuffix(text, "\n"), '\n')+1:]
		}
		_, _ = io.WriteString(w, text)
	}
}
