package maillog

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailproxy/internal/logqueue"
)

// stuck is a reader of the log that reads nothing until it is released.
type stuck struct {
	lines
	released chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.released
	return s.lines.Write(p)
}

// TestQueue: lines come in their order; with a reader that is stuck nobody waits, what is too much is
// counted, and close does not wait for ever.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{released: make(chan struct{})}
		log, closeLog := NewLog(out).Queue()
		for n := range logqueue.Lines + 1000 {
			log.Infof("line %d", n)
		}
		synctest.Wait() // one line is being written, the others queue
		begun := time.Now()
		closeLog()
		if waited := time.Since(begun); waited != logqueue.CloseTime {
			t.Errorf("close waits %v", waited)
		}
		close(out.released)
		synctest.Wait()
		text := strings.Join(out.got, "")
		first := "INFO: line 0\n"
		if !strings.HasPrefix(text, first) || !strings.Contains(text, " log lines lost: ") {
			t.Errorf("%.200q", text)
		}
		last := -1
		for _, line := range out.got {
			n := 0
			if _, err := fmt.Sscanf(line, "INFO: line %d", &n); err != nil {
				continue
			}
			if n <= last {
				t.Fatalf("%d behind %d", n, last)
			}
			last = n
		}
		log.Errf("behind the end")
	})
}

// TestQueueEnd: what is queued at the end is written.
func TestQueueEnd(t *testing.T) {
	var out lines
	log, closeLog := NewLog(&out).Queue()
	log.Warnf("a %s", "b")
	limited := log.Limit(5, func() string { return "no more" })
	limited.Infof("too long")
	limited.Always().Infof("c")
	closeLog()
	if got := strings.Join(out.got, ""); got != "WARN: a b\nNOTICE: no more\nINFO: c\n" {
		t.Errorf("%q", got)
	}
	closeLog()
}
