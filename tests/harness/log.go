package harness

import (
	"regexp"
	"strings"
	"testing"

	"mailproxy/tests/testlog"
)

// Patience is how long the harness waits for a server to start or a log line to appear. It is far above what
// either takes.
const Patience = testlog.Patience

// Log collects the lines that a program writes. It is safe for concurrent use.
type Log struct{ testlog.Log }

// Lines returns the complete lines so far, without their ends.
func (l *Log) Lines() []string {
	text := l.String()
	end := strings.LastIndexByte(text, '\n')
	if end < 0 {
		return nil
	}
	return strings.Split(text[:end], "\n")
}

// Find returns the complete lines that hold a match of the regular expression.
func (l *Log) Find(expr string) []string {
	re := regexp.MustCompile(expr)
	var found []string
	for _, line := range l.Lines() {
		if re.MatchString(line) {
			found = append(found, line)
		}
	}
	return found
}

// Wait waits for a line that holds a match and returns the first one; it ends the test when there is none in
// time.
func (l *Log) Wait(t testing.TB, expr string) string {
	t.Helper()
	var found []string
	if !Eventually(func() bool { found = l.Find(expr); return len(found) > 0 }) {
		t.Fatalf("no log line matches %q in:\n%s", expr, l)
	}
	return found[0]
}

// WaitN waits for exactly n lines that hold a match and returns them; it ends the test when there are more,
// or fewer in time.
func (l *Log) WaitN(t testing.TB, n int, expr string) []string {
	t.Helper()
	var found []string
	Eventually(func() bool { found = l.Find(expr); return len(found) >= n })
	if len(found) != n {
		t.Fatalf("%d log lines match %q, want %d, in:\n%s", len(found), expr, n, l)
	}
	return found
}

// Eventually asks often until the condition holds, and reports whether it did within Patience.
func Eventually(condition func() bool) bool { return testlog.Eventually(condition) }
