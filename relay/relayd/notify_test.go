package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/tests/testlog"
)

// TestNotifyBeforeTheEnd: after a reload systemd hears of the new main process from the old one. What the
// new one says itself may come after the old one's end, which systemd would take for the end of the
// service.
func TestNotifyBeforeTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	})
	if cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	p := startProcess(t, "NOTIFY_SOCKET="+path)
	p.reload()
	pids := p.pids()
	// It is our own child, as it would be systemd's.
	t.Cleanup(func() {
		_ = unix.Kill(pids[1], unix.SIGKILL)
		_, _ = unix.Wait4(pids[1], nil, 0, nil)
	})
	_ = c.SetReadDeadline(time.Now().Add(testlog.Patience))
	told := map[int]string{}
	for len(told) < 2 || !strings.Contains(told[pids[0]], "\nMAINPID="+fmt.Sprint(pids[1])) {
		text, oob := make([]byte, 1024), make([]byte, 1024)
		n, oobn, _, _, err := c.ReadMsgUnix(text, oob)
		if err != nil {
			t.Fatalf("%v; told so far by process %d and then %d: %v", err, pids[0], pids[1], told)
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(messages) != 1 {
			t.Fatalf("%d control messages, %v", len(messages), err)
		}
		from, err := unix.ParseUnixCredentials(&messages[0])
		if err != nil {
			t.Fatal(err)
		}
		told[int(from.Pid)] += "\n" + string(text[:n])
	}
	if want := fmt.Sprintf("\nREADY=1\nMAINPID=%d", pids[1]); told[pids[1]] != want {
		t.Errorf("the new process says %q, want %q", told[pids[1]], want)
	}
}
