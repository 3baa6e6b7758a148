// Package maillog writes the log of the programs, for courierlogger, the journal or the syslog service:
// one line a call, a level on each, nothing that can forge a second line, and a limit on what one
// connection can have written.
//
// It deliberately defines no log lines: the packages that log have one function for each line.
package maillog

import (
	"fmt"
	"io"
	"log/syslog"
	"strings"
	"sync"

	"mailproxy/internal/logqueue"
	"mailproxy/internal/text"
)

// level is a log line's weight. Its number is syslog's severity (RFC 5424 section 6.2.1).
type level int

// The levels that Courier's programs use.
const (
	levelCrit   level = 2
	levelErr    level = 3
	levelWarn   level = 4
	levelNotice level = 5
	levelInfo   level = 6
	levelDebug  level = 7
)

// String returns the prefix that courierlogger looks for, without its colon.
func (l level) String() string {
	switch l {
	case levelCrit:
		return "CRIT"
	case levelErr:
		return "ERR"
	case levelWarn:
		return "WARN"
	case levelNotice:
		return "NOTICE"
	case levelInfo:
		return "INFO"
	}
	return "DEBUG"
}

// Log takes one line a call. Where the lines go was decided when it was made. What text.Visible escapes is
// written as \ooo, so that no user name can begin a line of its own, or have a line look like another. A line
// that cannot be written is lost: no session ends because a log is full. Its methods may be called by several
// goroutines.
type Log struct {
	mu     sync.Mutex
	write  func([]entry) error
	budget *budget // nil = unlimited
}

// entry is one line.
type entry struct {
	level level
	text  string
}

// without is the text without the program's name in front.
func (e entry) without(name string) string { return strings.TrimPrefix(e.text, name+": ") }

// budget bounds what is written to a log, in bytes.
type budget struct {
	of   *Log // where the lines go
	left int
	more func() string // the line that is written once when nothing is left
	over bool
}

// Limit returns a log that writes at most so many bytes to l, and then, once, the line that more returns, as
// a NOTICE. Lines of level ERR and CRIT are written in any case: they are about the installation.
func (l *Log) Limit(bytes int, more func() string) *Log {
	return &Log{budget: &budget{of: l, left: bytes, more: more}}
}

// Always returns the log without its limit.
func (l *Log) Always() *Log {
	if l.budget == nil {
		return l
	}
	return l.budget.of
}

// NewLog returns a log that writes "LEVEL: text" lines to w, none with more than one Write: what
// courierlogger reads.
func NewLog(w io.Writer) *Log {
	return newWriterLog(w, func(b []byte, line entry) []byte {
		return append(append(append(append(b, line.level.String()...), ": "...), line.text...), '\n')
	})
}

// newJournalLog returns a log for standard error that systemd's journal reads: the level as "<6>", no prefix
// besides.
func newJournalLog(w io.Writer, name string) *Log {
	return newWriterLog(w, func(b []byte, line entry) []byte {
		return fmt.Appendf(b, "<%d>%s\n", line.level, line.without(name))
	})
}

// newWriterLog returns a log that writes to w what format makes of the lines.
func newWriterLog(w io.Writer, format func([]byte, entry) []byte) *Log {
	return &Log{write: func(lines []entry) error { return logqueue.WriteLines(w, lines, format) }}
}

// NewSyslog returns a log that goes to the local syslog service, facility mail, under the program's name.
// Without a syslog service it is silent.
func NewSyslog(name string) *Log {
	w, err := syslog.New(syslog.LOG_MAIL|syslog.LOG_INFO, name)
	if err != nil {
		return NewSilentLog()
	}
	by := map[level]func(string) error{
		levelCrit: w.Crit, levelErr: w.Err, levelWarn: w.Warning,
		levelNotice: w.Notice, levelInfo: w.Info, levelDebug: w.Debug,
	}
	return &Log{write: func(lines []entry) (err error) {
		for _, line := range lines {
			err = by[line.level](line.text)
		}
		return err
	}}
}

// NewSilentLog returns a log that drops every line.
func NewSilentLog() *Log {
	return &Log{write: func([]entry) error { return nil }}
}

// Debugf, Infof, Noticef, Warnf, Errf and Critf write one line of that level.
func (l *Log) Debugf(format string, args ...any) { l.line(levelDebug, format, args) }

// Infof writes a line of level INFO.
func (l *Log) Infof(format string, args ...any) { l.line(levelInfo, format, args) }

// Noticef writes a line of level NOTICE.
func (l *Log) Noticef(format string, args ...any) { l.line(levelNotice, format, args) }

// Warnf writes a line of level WARN.
func (l *Log) Warnf(format string, args ...any) { l.line(levelWarn, format, args) }

// Errf writes a line of level ERR.
func (l *Log) Errf(format string, args ...any) { l.line(levelErr, format, args) }

// Critf writes a line of level CRIT.
func (l *Log) Critf(format string, args ...any) { l.line(levelCrit, format, args) }

// Line writes a line that carries its level in front, "INFO: text", as relay.EndLine makes it. A line without
// a known level is of level INFO. The lines of a stack become one.
func (l *Log) Line(line string) {
	line = strings.ReplaceAll(strings.TrimRight(line, "\n"), "\n", " | ")
	for _, level := range []level{levelCrit, levelErr, levelWarn, levelNotice, levelInfo, levelDebug} {
		if text, ok := strings.CutPrefix(line, level.String()+": "); ok {
			l.visible(level, text)
			return
		}
	}
	l.visible(levelInfo, line)
}

// maxLine bounds one log line, in bytes; syslog services cut longer ones in their own ways.
const maxLine = 2048

func (l *Log) line(level level, format string, args []any) {
	l.visible(level, fmt.Sprintf(format, args...))
}

// visible writes a line of which nothing has been escaped yet.
func (l *Log) visible(level level, line string) {
	line = text.Visible(line)
	if len(line) > maxLine {
		line = strings.ToValidUTF8(line[:maxLine], "") + "..."
	}
	l.put([]entry{{level, line}})
}

// put writes lines.
func (l *Log) put(lines []entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.budget == nil {
		_ = l.write(lines)
		return
	}
	for _, line := range lines {
		l.budget.put(line)
	}
}

func (b *budget) put(line entry) {
	switch b.left -= len("NOTICE: ") + len(line.text) + 1; {
	case b.left >= 0 && !b.over || line.level <= levelErr:
		b.of.put([]entry{line})
	case !b.over:
		b.over = true
		b.of.visible(levelNotice, b.more())
	}
}
