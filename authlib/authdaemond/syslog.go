package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/systemd"
)

// standardError returns where the log goes: standard error, in the form of a syslog message when that leads
// to the syslog service, with the levels of the journal when it is that. A front end under xinetd, whose own
// standard error is the client, starts us so.
func standardError(file *os.File, getenv func(string) string) io.Writer {
	kind, err := unix.GetsockoptInt(int(file.Fd()), unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_DGRAM {
		return systemd.Stderr(file, "authdaemond", getenv)
	}
	return &syslogWriter{to: file, pid: os.Getpid(), now: time.Now}
}

// syslogWriter makes a message of facility mail of each of a logger's lines, RFC 3164 section 4.1 without the
// host name, as the C library's syslog(3) does.
type syslogWriter struct {
	to  io.Writer
	pid int
	now func() time.Time
}

func (w *syslogWriter) Write(line []byte) (int, error) {
	const mail = 2 << 3
	level, text, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), ": ")
	severity, ok := map[string]int{"ERR": 3, "WARN": 4, "INFO": 6, "DEBUG": 7}[level]
	if !ok {
		severity, text = 5, strings.TrimSuffix(string(line), "\n") // not the logger's: notice
	}
	_, err := fmt.Fprintf(
		w.to,
		"<%d>%s authdaemond[%d]: %s",
		mail|severity,
		w.now().Format(time.Stamp),
		w.pid,
		text,
	)
	return len(line), err
}
