package resident_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// notified is what systemd hears: by process, one line each.
type notified struct {
	mu   sync.Mutex
	told map[int]string
}

func (n *notified) by(pid int) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.told[pid]
}

// listenNotify stands in for systemd.
func listenNotify(t *testing.T, path string) *notified {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	})
	if err := os.Chmod(path, 0o666); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	n := &notified{told: map[int]string{}}
	go func() {
		for {
			text, oob := make([]byte, 1024), make([]byte, 1024)
			size, oobn, _, _, err := c.ReadMsgUnix(text, oob)
			if err != nil {
				return
			}
			messages, err := unix.ParseSocketControlMessage(oob[:oobn])
			if err != nil || len(messages) != 1 {
				t.Errorf("%d control messages, %v", len(messages), err)
				return
			}
			from, err := unix.ParseUnixCredentials(&messages[0])
			if err != nil {
				t.Error(err)
				return
			}
			n.mu.Lock()
			n.told[int(from.Pid)] += string(text[:size]) + "\n"
			n.mu.Unlock()
		}
	}()
	return n
}

// TestNotify: systemd hears of a reload when it begins, and from the old process, while that is still the
// main one, which the new one is and that it is ready; after a reload that failed, that the old one is.
func TestNotify(t *testing.T) {
	w := newWorld(t)
	path := w.dir + "/notify"
	systemd := listenNotify(t, path)
	p := w.start("imap", "NOTIFY_SOCKET="+path)
	first := p.cmd.Process.Pid
	p.until("READY", func() bool { return systemd.by(first) == fmt.Sprintf("READY=1\nMAINPID=%d\n", first) })
	p.replace([]byte("not a program"))
	p.signal(unix.SIGHUP)
	reloading := "RELOADING=1\nMONOTONIC_USEC="
	p.until("READY again", func() bool {
		_, after, found := strings.Cut(systemd.by(first), reloading)
		return found && strings.HasSuffix(after, "\nREADY=1\n")
	})
	p.install()
	p.reload()
	// It is our own child, as it would be systemd's.
	second := p.pids()[1]
	t.Cleanup(func() {
		_ = unix.Kill(second, unix.SIGKILL)
		_, _ = unix.Wait4(second, nil, 0, nil)
	})
	p.until("who is the main process", func() bool {
		said := systemd.by(first)
		return strings.Count(said, reloading) == 2 &&
			strings.HasSuffix(said, fmt.Sprintf("\nREADY=1\nMAINPID=%d\n", second))
	})
	p.until("the new one is ready", func() bool {
		return systemd.by(second) == fmt.Sprintf("READY=1\nMAINPID=%d\n", second)
	})
	p.signal(unix.SIGTERM)
	p.until("STOPPING", func() bool { return strings.HasSuffix(systemd.by(second), "\nSTOPPING=1\n") })
	<-p.exited
}
