// Package testlog has the log that tests give to what they test, and the waiting for what must come true.
package testlog

import (
	"bytes"
	"sync"
	"time"
)

// Log keeps what is written to it. It may be read meanwhile; its zero value is empty.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns what has been written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Patience is how long tests wait for what must come true. It is far above what anything takes.
const Patience = 30 * time.Second

// Eventually asks often until the condition holds, and reports whether it did within Patience.
func Eventually(condition func() bool) bool {
	end := time.Now().Add(Patience)
	for wait := time.Millisecond; ; wait = min(wait*2, 50*time.Millisecond) {
		if condition() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
		time.Sleep(wait) // between two questions
	}
}
