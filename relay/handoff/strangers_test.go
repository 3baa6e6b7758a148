package handoff_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/peercred"
	"mailproxy/relay"
	"mailproxy/relay/handoff"
	"mailproxy/tests/relaytest"
)

// listenAs listens on a new socket as another user, whom the kernel then names to callers.
func listenAs(t *testing.T, uid int) (path string, fd int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "relay")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "s")
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		// Of this thread alone, unlike what packages syscall and unix do.
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0))
		if errno != 0 {
			done <- errno
			return
		}
		done <- unix.Listen(fd, 8)
	}()
	if err := <-done; err != nil {
		t.Fatalf("these tests need root: %v", err)
	}
	return path, fd
}

// TestStranger: a listener that is neither root's nor of a user who was named is given no session and told
// nothing.
func TestStranger(t *testing.T) {
	path, fd := listenAs(t, 1)
	heard := func() string {
		t.Helper()
		c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(c)
		buf := make([]byte, 4096)
		n, _ := unix.Read(c, buf)
		return string(buf[:max(n, 0)])
	}
	client, _ := relaytest.TCP(t, 4096)
	mailhost, _ := relaytest.TCP(t, 4096)
	var refused *peercred.Refused
	trusting := func(users ...string) *handoff.Client {
		trusted := func(c *net.UnixConn) error { return peercred.Listener(c, users...) }
		return &handoff.Client{Socket: path, Trusted: trusted}
	}
	s := &relay.Session{Client: client, Mailhost: mailhost, Info: relay.Info{User: "ann"}}
	err := trusting("bin").Carry(context.Background(), s)
	if !errors.Is(err, relay.ErrUnavailable) || !errors.As(err, &refused) || refused.UID != 1 {
		t.Errorf("hand-over: %v", err)
	}
	if got := heard(); got != "" {
		t.Errorf("the stranger was told %q", got)
	}
	report := &relay.Report{Protocol: "IMAP", Result: relay.LoginOK, Took: time.Second}
	if err := trusting("bin").Report(report); !errors.As(err, &refused) {
		t.Errorf("report: %v", err)
	}
	if got := heard(); got != "" {
		t.Errorf("the stranger was told %q", got)
	}
	if err := trusting("bin", "daemon").Report(report); err != nil {
		t.Errorf("report: %v", err)
	}
	if got := heard(); !strings.HasPrefix(got, "REPORT\n") {
		t.Errorf("who was named is told %q", got)
	}
}
