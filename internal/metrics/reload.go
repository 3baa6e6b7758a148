package metrics

import "io"

// WriteReload writes whether the last reload was one, under a name that begins with prefix: a process that
// another has replaced is not asked any more.
func WriteReload(w io.Writer, prefix string, failed bool) {
	successful := int64(1)
	if failed {
		successful = 0
	}
	Write(w, Gauge, prefix+"last_reload_successful", successful)
}
