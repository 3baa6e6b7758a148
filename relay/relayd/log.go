package main

import (
	"fmt"
	"io"
	"sync/atomic"
)

// logger writes lines without ever making a session wait for a slow reader of the log.
type logger struct {
	lines chan string
	lost  atomic.Int64
	done  chan struct{}
}

// logQueue lines wait at most; a burst of ended sessions is shorter.
const logQueue = 8192

func newLogger(w io.Writer) *logger {
	l := &logger{lines: make(chan string, logQueue), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for line := range l.lines {
			if n := l.lost.Swap(0); n > 0 {
				fmt.Fprintf(w, "WARN: relayd: %d log lines lost\n", n)
			}
			_, _ = io.WriteString(w, line+"\n")
		}
	}()
	return l
}

// line queues one line, or counts it as lost.
func (l *logger) line(s string) {
	select {
	case l.lines <- s:
	default:
		l.lost.Add(1)
	}
}

// close waits until what is queued is written. No line may follow.
func (l *logger) close() {
	close(l.lines)
	<-l.done
}
