package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// logger writes lines without ever making a session wait for a slow reader of the log.
type logger struct {
	lines chan string
	lost  atomic.Int64
	stop  chan struct{}
	once  sync.Once
	done  chan struct{}
}

const (
	logQueue = 8192        // lines that wait at most; a burst of ended sessions is shorter
	logTime  = time.Second // for the reader of the log to take what is queued at the end
)

func newLogger(w io.Writer) *logger {
	l := &logger{lines: make(chan string, logQueue), stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for {
			select {
			case line := <-l.lines:
				l.write(w, line)
			case <-l.stop:
				for len(l.lines) > 0 {
					l.write(w, <-l.lines)
				}
				return
			}
		}
	}()
	return l
}

func (l *logger) write(w io.Writer, line string) {
	if n := l.lost.Swap(0); n > 0 {
		fmt.Fprintf(w, "WARN: relayd: %d log lines lost\n", n)
	}
	_, _ = io.WriteString(w, line+"\n")
}

// line queues one line, or counts it as lost. It may be called at any time, also after close.
func (l *logger) line(s string) {
	select {
	case l.lines <- s:
	default:
		l.lost.Add(1)
	}
}

// close waits until what is queued is written, at most a second: a reader that has stopped reading does not
// keep the program.
func (l *logger) close() {
	l.once.Do(func() { close(l.stop) })
	select {
	case <-l.done:
	case <-time.After(logTime):
	}
}
