// Package logqueue writes log lines without blocking on a slow reader of the log: a journal or a pipe that is
// not read does not stop connections or sessions. It is for processes that serve many.
package logqueue

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Lines is how many wait at most; a burst of sessions that end is shorter.
	Lines = 8192
	// CloseTime is for the reader of the log to take what is queued at the end.
	CloseTime = time.Second
	// gather is for how long after a write the next lines are gathered, to be written at once: under load a
	// write for each line, which also wakes the log's reader, is a tenth of a login's work. The first line
	// after a pause is not delayed.
	gather = 10 * time.Millisecond
	// atOnce is how many lines are handed to be written at once at most.
	atOnce = 64
	// whole is how many bytes a pipe takes without those of another process between them (PIPE_BUF).
	whole = 4096
)

// Queue has lines of whatever form written in their order by a goroutine of its own. What finds it full is
// lost, and how much is said as soon as there is room. Its methods may be called by any goroutine.
type Queue[T any] struct {
	write func(lines []T)
	lose  func(n int64)

	lines      chan T
	lost       atomic.Int64
	once       sync.Once
	stop, done chan struct{}
}

// New starts a Queue, which Close ends. write writes lines, which are its own only until it returns, and lose
// says that n lines before them are lost.
func New[T any](write func(lines []T), lose func(n int64)) *Queue[T] {
	q := &Queue[T]{
		write: write, lose: lose,
		lines: make(chan T, Lines), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go q.run()
	return q
}

// Put queues a line, or counts it as lost. It may be called at any time, also after Close, when nothing is
// written any more.
func (q *Queue[T]) Put(line T) {
	select {
	case q.lines <- line:
	default:
		q.lost.Add(1)
	}
}

// Close waits until what is queued is written, at most for CloseTime: a reader that has stopped reading does
// not keep the program.
func (q *Queue[T]) Close() {
	q.once.Do(func() { close(q.stop) })
	select {
	case <-q.done:
	case <-time.After(CloseTime):
	}
}

func (q *Queue[T]) run() {
	defer close(q.done)
	var written time.Time
	for {
		select {
		case first := <-q.lines:
			if wait := gather - time.Since(written); wait > 0 {
				select {
				case <-time.After(wait):
				case <-q.stop:
				}
			}
			q.writeAll(first)
			written = time.Now()
		case <-q.stop:
			if len(q.lines) > 0 {
				q.writeAll(<-q.lines)
			}
			return
		}
	}
}

// writeAll writes a line and those that are queued.
func (q *Queue[T]) writeAll(first T) {
	lines := append(make([]T, 0, atOnce), first)
	for {
		for len(lines) < atOnce && len(q.lines) > 0 {
			lines = append(lines, <-q.lines)
		}
		if len(lines) == 0 {
			return
		}
		if n := q.lost.Swap(0); n > 0 {
			q.lose(n)
		}
		q.write(lines)
		lines = lines[:0]
	}
}

// WriteLines writes to w what format appends of each line, in as few Writes as leave every line in one piece:
// a process and the one that replaces it write to the same pipe, or connection to the journal, for a while.
func WriteLines[T any](w io.Writer, lines []T, format func(b []byte, line T) []byte) error {
	var b []byte
	var first error
	write := func(p []byte) {
		if _, err := w.Write(p); first == nil {
			first = err
		}
	}
	for _, line := range lines {
		before := len(b)
		b = format(b, line)
		if before > 0 && len(b) > whole {
			write(b[:before])
			b = append(b[:0], b[before:]...)
		}
	}
	if len(b) > 0 {
		write(b)
	}
	return first
}
