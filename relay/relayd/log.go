package main

import (
	"fmt"
	"io"

	"mailproxy/internal/logqueue"
)

// logger writes lines without ever making a session wait for a slow reader of the log.
type logger struct{ queue *logqueue.Queue[string] }

func newLogger(w io.Writer) *logger {
	return &logger{logqueue.New(
		func(lines []string) {
			_ = logqueue.WriteLines(w, lines, func(b []byte, line string) []byte {
				return append(append(b, line...), '\n')
			})
		},
		func(n int64) { fmt.Fprintf(w, "WARN: relayd: %d log lines lost\n", n) },
	)}
}

// line queues one line, or counts it as lost. It may be called at any time, also after close.
func (l *logger) line(s string) { l.queue.Put(s) }

// close waits until what is queued is written, at most a second.
func (l *logger) close() { l.queue.Close() }
