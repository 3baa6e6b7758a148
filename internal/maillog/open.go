package maillog

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Open returns the log of a program whose standard error is a file: with the levels of systemd's journal when
// that is the file, which it is when journalStream ($JOURNAL_STREAM) says so; as messages under a name when
// the file leads to the syslog service, as for a program that is started by one whose standard error is the
// client; else as NewLog. Where the reader adds the name it is not in front of a line's text as well.
func Open(file *os.File, name, journalStream string) *Log {
	if kind, err := unix.GetsockoptInt(int(file.Fd()), unix.SOL_SOCKET, unix.SO_TYPE); err == nil &&
		kind == unix.SOCK_DGRAM {
		return newMessages(file, name)
	}
	if info, err := file.Stat(); err == nil {
		st, ok := info.Sys().(*syscall.Stat_t)
		if ok && journalStream == fmt.Sprintf("%d:%d", st.Dev, st.Ino) {
			return newJournalLog(file, name)
		}
	}
	return NewLog(file)
}

// newMessages returns a log that writes messages of facility mail, RFC 3164 section 4.1 without the host
// name, as the C library's syslog(3) does.
func newMessages(file *os.File, name string) *Log {
	const mail = 2 << 3
	return &Log{write: func(lines []entry) (err error) {
		for _, line := range lines {
			_, err = fmt.Fprintf(file, "<%d>%s %s[%d]: %s",
				mail|line.level, time.Now().Format(time.Stamp), name, os.Getpid(), line.without(name))
		}
		return err
	}}
}
