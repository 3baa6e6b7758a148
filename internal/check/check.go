// Package check answers "why does it not work": it goes the way of a login step by step, as the front end
// would, and says at each step what it found. It changes nothing, and it needs no client.
package check

import (
	"encoding/json"
	"fmt"
	"io"

	"mailproxy/internal/text"
)

// Level is how a step went.
type Level string

// The levels, worst last. Only Failed makes the exit status 1.
const (
	OK      Level = "ok"
	Info    Level = "info"
	Warning Level = "warn"
	Failed  Level = "fail"
)

// step is one line of the report.
type step struct {
	Level Level `json:"level"`
	// Topic is what was looked at: "settings", "auth", "mailhost", ...
	Topic string `json:"topic"`
	// Text says what was found, and, for warnings and failures, what to do about it.
	Text string `json:"text"`
}

// report prints steps as they come.
type report struct {
	out io.Writer
	// json writes one JSON object a line instead of text.
	json bool
	// color marks the levels for a terminal.
	color bool

	failed bool
}

// Failed says whether any step has failed.
func (r *report) Failed() bool { return r.failed }

func (r *report) ok(topic, format string, args ...any)   { r.add(OK, topic, format, args) }
func (r *report) info(topic, format string, args ...any) { r.add(Info, topic, format, args) }
func (r *report) warn(topic, format string, args ...any) { r.add(Warning, topic, format, args) }
func (r *report) fail(topic, format string, args ...any) { r.add(Failed, topic, format, args) }

func (r *report) add(level Level, topic, format string, args []any) {
	r.failed = r.failed || level == Failed
	step := step{level, topic, text.Visible(fmt.Sprintf(format, args...))}
	if r.json {
		b, err := json.Marshal(step)
		if err == nil {
			fmt.Fprintf(r.out, "%s\n", b)
		}
		return
	}
	word := fmt.Sprintf("%-4s", level)
	if r.color {
		word = colors[level] + word + "\x1b[0m"
	}
	fmt.Fprintf(r.out, "%s  %-12s %s\n", word, step.Topic, step.Text)
}

var colors = map[Level]string{OK: "\x1b[32m", Info: "\x1b[36m", Warning: "\x1b[33m", Failed: "\x1b[31m"}
