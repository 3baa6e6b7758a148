// Package check answers "why does it not work": it tries a login step by step, as the front end would, and
// says what it finds at each step. It changes nothing, and it needs no client.
package check

import (
	"encoding/json"
	"fmt"
	"io"

	"mailproxy/internal/text"
)

// level is how a step went.
type level string

// The levels, worst last. Only levelFailed makes the exit status 1.
const (
	levelOK      level = "ok"
	levelInfo    level = "info"
	levelWarning level = "warn"
	levelFailed  level = "fail"
)

// step is one line of the report.
type step struct {
	Level level `json:"level"`
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

	failed bool // a step has
}

func (r *report) ok(topic, format string, args ...any)   { r.add(levelOK, topic, format, args) }
func (r *report) info(topic, format string, args ...any) { r.add(levelInfo, topic, format, args) }
func (r *report) warn(topic, format string, args ...any) { r.add(levelWarning, topic, format, args) }
func (r *report) fail(topic, format string, args ...any) { r.add(levelFailed, topic, format, args) }

func (r *report) add(l level, topic, format string, args []any) {
	r.failed = r.failed || l == levelFailed
	step := step{l, topic, text.Visible(fmt.Sprintf(format, args...))}
	if r.json {
		b, err := json.Marshal(step)
		if err == nil {
			fmt.Fprintf(r.out, "%s\n", b)
		}
		return
	}
	word := fmt.Sprintf("%-4s", l)
	if r.color {
		word = colors[l] + word + "\x1b[0m"
	}
	fmt.Fprintf(r.out, "%s  %-12s %s\n", word, step.Topic, step.Text)
}

var colors = map[level]string{
	levelOK: "\x1b[32m", levelInfo: "\x1b[36m", levelWarning: "\x1b[33m", levelFailed: "\x1b[31m",
}
