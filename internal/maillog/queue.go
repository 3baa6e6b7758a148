package maillog

import "mailproxy/internal/logqueue"

// Queue returns a log that does not block: its lines are written to l by package logqueue. It is for a
// process that serves many connections. close writes what is queued, but waits for at most a second; the log
// may be used afterwards and loses its lines then.
func (l *Log) Queue() (queued *Log, close func()) {
	q := logqueue.New(
		l.put,
		func(n int64) { l.Warnf("%d log lines lost: the reader of the log does not keep up", n) },
	)
	return &Log{write: func(lines []entry) error {
		for _, line := range lines {
			q.Put(line)
		}
		return nil
	}}, q.Close
}
