package resident

import (
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"mailproxy/relay"
)

// labelled writes one metric with its labels. Its head is written once.
func labelled(w io.Writer, name string, write func(io.Writer, string, uint64), values map[string]int64) {
	for i, labels := range slices.Sorted(maps.Keys(values)) {
		var line strings.Builder
		write(&line, prefix+name+labels, uint64(max(values[labels], 0)))
		text := line.String()
		if i > 0 {
			text = text[strings.LastIndexByte(strings.TrimSuffix(text, "\n"), '\n')+1:]
		}
		_, _ = io.WriteString(w, text)
	}
}

func handOverResult(err error) string {
	switch {
	case err == nil:
		return "taken"
	case errors.Is(err, relay.ErrLimit):
		return "limit"
	}
	return "failed"
}

// tlsVersion is a version as people say it: "1.3".
func tlsVersion(v uint16) string { return strings.TrimPrefix(tls.VersionName(v), "TLS ") }
