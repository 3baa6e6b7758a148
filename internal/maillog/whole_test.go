package maillog

import (
	"strings"
	"testing"
	"testing/synctest"
)

// TestQueueWhole: lines that are gathered are written so that a pipe keeps each in one piece, whatever
// another process writes to it meanwhile.
func TestQueueWhole(t *testing.T) {
	for name, newLog := range map[string]func(*lines) *Log{
		"courierlogger": func(l *lines) *Log { return NewLog(l) },
		"journal":       func(l *lines) *Log { return newJournalLog(l, "x") },
	} {
		synctest.Test(t, func(t *testing.T) {
			var out lines
			log, closeLog := newLog(&out).Queue()
			const n = 100
			for range n {
				log.Infof("%s", strings.Repeat("x", maxLine))
			}
			closeLog()
			if got := strings.Count(strings.Join(out.got, ""), "\n"); got != n {
				t.Errorf("%s: %d lines", name, got)
			}
			for _, p := range out.got {
				if len(p) > 4096 || !strings.HasSuffix(p, "\n") {
					t.Fatalf("%s: %d bytes in one write", name, len(p))
				}
			}
		})
	}
}
