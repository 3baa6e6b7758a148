package maillog

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	queueLines = 8192        // that wait at most; a burst of sessions that end is shorter
	queueTime  = time.Second // for the reader of the log to take what is queued at the end
)

// queuedLine is a line that waits to be written.
type queuedLine struct {
	level Level
	text  string
}

// Queue returns a log that nobody waits for: its lines are written to l in their order by a goroutine, so that
// a journal or a pipe that nobody reads stops no connection. What finds the queue full is lost, and how much
// is said as soon as there is room. It is for a process that serves many connections. close writes what is
// queued, but waits for at most a second; the log may be used afterwards and loses its lines then.
func (l *Log) Queue() (queued *Log, close func()) {
	q := &queue{
		to: l, lines: make(chan queuedLine, queueLines), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go q.run()
	return &Log{write: q.put}, sync.OnceFunc(q.close)
}

type queue struct {
	to         *Log
	lines      chan queuedLine
	lost       atomic.Int64
	stop, done chan struct{}
}

// put queues a line, or counts it as lost.
func (q *queue) put(level Level, text string) error {
	select {
	case q.lines <- queuedLine{level, text}:
	default:
		q.lost.Add(1)
	}
	return nil
}

func (q *queue) run() {
	defer close(q.done)
	for {
		select {
		case line := <-q.lines:
			q.write(line)
		case <-q.stop:
			for len(q.lines) > 0 {
				q.write(<-q.lines)
			}
			return
		}
	}
}

func (q *queue) write(line queuedLine) {
	if n := q.lost.Swap(0); n > 0 {
		q.to.Warnf("%d log lines lost: whoever reads the log does not keep up", n)
	}
	q.to.line(line.level, "%s", []any{line.text})
}

func (q *queue) close() {
	close(q.stop)
	select {
	case <-q.done:
	case <-time.After(queueTime):
	}
}
