package metrics

import (
	"io"

	"github.com/VictoriaMetrics/metrics"
)

// WriteReload writes whether the last reload was one, under a name that begins with prefix: a process that
// another has replaced is not asked any more.
func WriteReload(w io.Writer, prefix string, failed bool) {
	successful := uint64(1)
	if failed {
		successful = 0
	}
	metrics.WriteGaugeUint64(w, prefix+"last_reload_successful", successful)
}
