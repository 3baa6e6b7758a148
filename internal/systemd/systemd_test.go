package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childVariable makes this test binary a service that says what sockets it got.
const childVariable = "SYSTEMD_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	for kind, files := range Sockets(unix.SOCK_SEQPACKET) {
		for _, f := range files {
			l, err := net.FileListener(f)
			if err != nil {
				fmt.Println(err)
				continue
			}
			fmt.Println(kind, l.Addr().Network(), filepath.Base(l.Addr().String()))
		}
	}
	fmt.Println("left:", os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES"))
}

// TestSockets: names tell what a socket is for; without a name that is known, its type does.
func TestSockets(t *testing.T) {
	dir := t.TempDir()
	var files []*os.File
	for _, s := range []struct{ network, name string }{{"unixpacket", "a"}, {"unix", "b"}} {
		l, err := net.ListenUnix(s.network, &net.UnixAddr{Net: s.network, Name: filepath.Join(dir, s.name)})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	program := fmt.Sprintf("/proc/%d/exe", os.Getpid())
	for names, want := range map[string][]string{
		"LISTEN_FDNAMES=socket:metrics":                {"metrics unix b", "socket unixpacket a"},
		"LISTEN_FDNAMES=metrics:socket":                {"metrics unixpacket a", "socket unix b"},
		"LISTEN_FDNAMES=x.socket:y.socket":             {"metrics unix b", "socket unixpacket a"},
		"LISTEN_FDNAMES=":                              {"metrics unix b", "socket unixpacket a"},
		"LISTEN_PID=1":                                 nil, // meant for another process
		"LISTEN_FDNAMES=socket:socket NOTIFY_SOCKET=x": {"socket unix b", "socket unixpacket a"},
	} {
		cmd := exec.Command("/bin/sh", "-c", "exec "+program)
		cmd.Env = append(strings.Fields(names), childVariable+"=1", "LISTEN_FDS=2", "GORACE="+os.Getenv("GORACE"))
		if !strings.Contains(names, "LISTEN_PID") {
			cmd.Args[2] = "export LISTEN_PID=$$; " + cmd.Args[2]
		}
		cmd.ExtraFiles = files
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		left := lines[len(lines)-1]
		lines = slices.Sorted(slices.Values(lines[:len(lines)-1]))
		if !slices.Equal(lines, want) {
			t.Errorf("%s: %q, want %q", names, lines, want)
		}
		if left != "left:" {
			t.Errorf("%s: %q", names, left)
		}
	}
}

// TestNotify: without systemd nobody is told; with it, the state is.
func TestNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify("READY=1"); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "n")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := Notify("READY=1"); err != nil {
		t.Error(err)
	}
	buf := make([]byte, 100)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// TestNotifyNobody: a systemd that takes nothing is not waited for without a limit.
func TestNotifyNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	for range 1 << 16 { // the kernel's queue is shorter, whatever its settings
		if err = notify("READY=1", 10*time.Millisecond); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("without a reader: %v", err)
	}
}
