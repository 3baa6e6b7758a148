package systemd

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Stderr returns where a service named name writes its log: stderr as it is, or, when that is the journal, a
// writer that turns the lines' levels into the journal's. The journal has the program's name already, so it
// is taken off the front of the text. Each Write is one or more whole lines.
func Stderr(stderr *os.File, name string, getenv func(string) string) io.Writer {
	info, err := stderr.Stat()
	if err != nil {
		return stderr
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || getenv("JOURNAL_STREAM") != fmt.Sprintf("%d:%d", st.Dev, st.Ino) {
		return stderr
	}
	return &writer{out: stderr, name: []byte(name + ": ")}
}

type writer struct {
	out  io.Writer
	name []byte
}

// levels are courierlogger's prefixes and the severities of syslog (RFC 5424 section 6.2.1).
var levels = []struct {
	prefix   []byte
	severity int
}{
	{[]byte("CRIT: "), 2}, {[]byte("ERR: "), 3}, {[]byte("WARN: "), 4},
	{[]byte("NOTICE: "), 5}, {[]byte("INFO: "), 6}, {[]byte("DEBUG: "), 7},
}

// Write passes the lines on in one write; it reports p as written or not at all.
func (w *writer) Write(p []byte) (int, error) {
	var out []byte
	for line := range bytes.Lines(p) {
		severity := 3 // without a level it is why the program ends
		for _, l := range levels {
			if text, ok := bytes.CutPrefix(line, l.prefix); ok {
				line, severity = text, l.severity
				break
			}
		}
		out = append(fmt.Appendf(out, "<%d>", severity), bytes.TrimPrefix(line, w.name)...)
	}
	if _, err := w.out.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
