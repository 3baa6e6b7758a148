package peercred_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mailproxy/internal/peercred"
)

// connectVariable makes this test binary a process that connects to the socket named, and listenVariable one
// that listens.
const connectVariable, listenVariable = "PEERCRED_TEST_CONNECT", "PEERCRED_TEST_LISTEN"

func TestMain(m *testing.M) {
	if path := os.Getenv(connectVariable); path != "" {
		c, err := net.Dial("unix", path)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		_, _ = c.Read(make([]byte, 1))
		os.Exit(0)
	}
	if path := os.Getenv(listenVariable); path != "" {
		if _, err := net.Listen("unix", path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("listens")
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// open is a directory that everybody may write to.
func open(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "peercred")
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// start runs this test binary as somebody else.
func start(t *testing.T, cred *syscall.Credential, variable, path string) (*exec.Cmd, func() string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{variable + "=" + path, "GORACE=" + os.Getenv("GORACE")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("these tests need root: %v", err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	return cmd, func() string {
		line := make([]byte, 100)
		n, _ := out.Read(line)
		return string(line[:n])
	}
}

// TestCallers: who connects is known by user, group and supplementary groups, however many these are.
func TestCallers(t *testing.T) {
	path := filepath.Join(open(t), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	many := make([]uint32, 200)
	for i := range many {
		many[i] = uint32(50000 + i)
	}
	for _, test := range []struct {
		caller syscall.Credential
		names  string
		ok     bool
	}{
		{syscall.Credential{}, "", true},
		{syscall.Credential{Uid: 40001, Gid: 40001}, "", false},
		{syscall.Credential{Uid: 40001, Gid: 40001}, "40001", true},
		{syscall.Credential{Uid: 40001, Gid: 40001}, "daemon,40001", true},
		{syscall.Credential{Uid: 40001, Gid: 40001}, "@40001", true},
		{syscall.Credential{Uid: 40001, Gid: 40001}, "40002 @40003", false},
		{syscall.Credential{Uid: 40001, Gid: 40001, Groups: []uint32{40002, 40003}}, "@40003", true},
		{syscall.Credential{Uid: 40001, Gid: 40001, Groups: []uint32{40002, 40003}}, "40003", false},
		{syscall.Credential{Uid: 40001, Gid: 40001, Groups: many}, "@50199", true},
		{syscall.Credential{Uid: 40001, Gid: 40001, Groups: many}, "@50200", false},
		{syscall.Credential{Uid: 1, Gid: 40001}, "daemon", true},
		{syscall.Credential{Uid: 40001, Gid: 1}, "@daemon", true},
		{syscall.Credential{Uid: 40001, Gid: 0}, "", false},
	} {
		set, err := peercred.NewSet(peercred.Names(test.names)...)
		if err != nil {
			t.Fatal(err)
		}
		cmd, _ := start(t, &test.caller, connectVariable, path)
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		err = set.Check(c.(*net.UnixConn))
		c.Close()
		var refused *peercred.Refused
		if test.ok != (err == nil) || !test.ok && !errors.As(err, &refused) {
			t.Errorf("%+v, allowed %q: %v", test.caller, test.names, err)
		}
		named := refused != nil && strings.Contains(refused.Error(), "user 40001, group ")
		if refused != nil && (int(refused.PID) != cmd.Process.Pid || !named) {
			t.Errorf("%v; its process is %d", refused, cmd.Process.Pid)
		}
	}
}

// TestListener: who listens is root, ourselves or somebody named.
func TestListener(t *testing.T) {
	dir := open(t)
	for i, test := range []struct {
		listener syscall.Credential
		names    []string
		reason   string
	}{
		{syscall.Credential{}, nil, ""},
		{syscall.Credential{Uid: 1, Gid: 1}, []string{"daemon"}, ""},
		{syscall.Credential{Uid: 1, Gid: 1}, []string{"nobody-has-this-name", "daemon"}, ""},
		{syscall.Credential{Uid: 1, Gid: 1}, nil, "user 1 (daemon), group 1, process "},
		{syscall.Credential{Uid: 1, Gid: 1}, []string{"nobody-has-this-name", "@daemon", "bin"},
			"may be there: root, nobody-has-this-name, @daemon, bin"},
	} {
		path := filepath.Join(dir, fmt.Sprint(i))
		_, said := start(t, &test.listener, listenVariable, path)
		if got := said(); got != "listens\n" {
			t.Fatal(got)
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		err = peercred.Listener(c.(*net.UnixConn), test.names...)
		c.Close()
		if (err == nil) != (test.reason == "") || err != nil && !strings.Contains(err.Error(), test.reason) {
			t.Errorf("%+v, %q: %v", test.listener, test.names, err)
		}
	}
}

// TestNames: what is nobody's name is an error that names it.
func TestNames(t *testing.T) {
	if got := peercred.Names(" a,b @c,,\td "); !slices.Equal(got, []string{"a", "b", "@c", "d"}) {
		t.Errorf("%q", got)
	}
	for _, name := range []string{
		"nobody-has-this-name", "@nobody-has-this-name", "4294967295", "4294967296", "-1", "@", "0x1",
	} {
		if _, err := peercred.NewSet(name); err == nil {
			t.Errorf("%q is somebody", name)
		}
	}
}
