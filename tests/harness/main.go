// Package harness gives the tests real servers and clients, on an island of their own.
//
// A test package that uses it has
//
//	func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
//
// and then runs as root in network, mount, process and IPC namespaces of its own: every port is free, only
// loopback exists (all of 127.0.0.0/8 and ::1), /etc/courier, /run/courier and /run/mailproxy are private,
// /dev/log can be made, /proc shows the test's own processes only, and whatever was started dies with the
// test. Tests of one package share the island; packages that run at the same time do not meet.
//
// The starters (Courier's programs, Dovecot, launchers, our own programs) return when the server listens,
// register its end with t.Cleanup, and show its log when the test fails. Nothing here skips: what is missing
// is named and fails the test; tests/install.sh installs it.
//
// A test of whole sessions needs accounts with their servers (Site) and a proxy in front, in every way to run
// one (EachMode, Mode.Start). How much data it moves depends on who asks (Volume).
package harness

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The test binary runs three times: as itself (builds the programs, makes the namespaces), as process 1 in
// there (mounts, reaps), and as the test. These variables tell the second and third who they are.
const (
	stageVar = "MAILPROXY_HARNESS_STAGE"
	dirVar   = "MAILPROXY_HARNESS_DIR"
	rootVar  = "MAILPROXY_HARNESS_ROOT"
)

// raceOptions make a program with the race detector end at once; otherwise each waits a second at its end.
const raceOptions = "atexit_sleep_ms=20"

// Main runs the package's tests in namespaces of their own and returns the exit status for os.Exit.
func Main(m *testing.M) int {
	var status int
	var err error
	switch os.Getenv(stageVar) {
	case "test":
		raiseParallel()
		return m.Run()
	case "init":
		status, err = runInit()
	default:
		status, err = runOutside()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests/harness:", err)
		return 1
	}
	return status
}

// raiseParallel lets parallel tests outnumber the processors unless -parallel was given: most of their time
// is waiting.
func raiseParallel() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		flag.Set("test.parallel", strconv.Itoa(max(12, runtime.GOMAXPROCS(0))))
	}
}

// runOutside builds the programs and runs this binary again as process 1 of new namespaces.
func runOutside() (int, error) {
	if os.Geteuid() != 0 {
		return 0, fmt.Errorf(
			"these tests run real servers in private namespaces and need root (this is uid %d)",
			os.Geteuid(),
		)
	}
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", raceOptions)
	}
	root, err := moduleRoot()
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "mailproxy-test-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return 0, err
	}
	if err := buildPrograms(root, filepath.Join(dir, "bin")); err != nil {
		return 0, err
	}
	// The death signal follows the thread that started the process.
	runtime.LockOSThread()
	cmd := again("init", dirVar+"="+dir, rootVar+"="+root)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("make private network, mount, process and IPC namespaces: %w\n(inside a container "+
			"this needs CAP_SYS_ADMIN and a seccomp profile that allows clone with these flags)", err)
	}
	stop := forwardSignals(cmd.Process)
	defer stop()
	return exitStatus(cmd.Wait())
}

// runInit is process 1: it prepares the mounts, starts the tests, and reaps what daemons leave behind.
func runInit() (int, error) {
	if err := furnish(os.Getenv(dirVar)); err != nil {
		return 0, fmt.Errorf("prepare the namespaces: %w", err)
	}
	cmd := again("test")
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	stop := forwardSignals(cmd.Process)
	defer stop()
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, fmt.Errorf("wait for the tests: %w", err)
		case pid == cmd.Process.Pid && ws.Signaled():
			return 128 + int(ws.Signal()), nil
		case pid == cmd.Process.Pid:
			return ws.ExitStatus(), nil
		}
	}
}

// again is this test binary with the same arguments at another stage.
func again(stage string, env ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), append(env, stageVar+"="+stage)...)
	return cmd
}

func exitStatus(err error) (int, error) {
	exit, ok := err.(*exec.ExitError)
	switch {
	case err == nil:
		return 0, nil
	case ok && exit.ExitCode() > 0:
		return exit.ExitCode(), nil
	}
	return 0, err
}

// forwardSignals passes on what "go test" sends at its time limit, so that the goroutines that hang are
// shown.
func forwardSignals(to *os.Process) (stop func()) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		for s := range c {
			to.Signal(s)
		}
	}()
	return func() { signal.Stop(c); close(c) }
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if text, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil &&
			strings.HasPrefix(string(text), "module mailproxy\n") {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no go.mod of this project above the working directory")
}

// Root returns the directory that holds go.mod.
func Root(t testing.TB) string {
	t.Helper()
	root := os.Getenv(rootVar)
	if root == "" {
		t.Fatal("the package's TestMain does not call harness.Main")
	}
	return root
}

// Dir returns a new directory with a short name that every user may enter (t.TempDir is 0700 and too long for
// unix sockets). It is removed after the package's tests.
func Dir(t testing.TB) string {
	t.Helper()
	Root(t)
	dir, err := os.MkdirTemp(os.Getenv(dirVar), "t")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
