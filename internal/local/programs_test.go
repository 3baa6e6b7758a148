package local

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/launch"
)

// The programs under test take their own file descriptors over and become others, so they are this test
// binary again.
func TestMain(m *testing.M) {
	if name := os.Getenv("LOCAL_TEST_PROGRAM"); name != "" {
		os.Exit(programs[name](os.Args[1:]))
	}
	os.Exit(m.Run())
}

var programs = map[string]func(args []string) int{
	"exec": execProgram, "start": startProgram, "drop": dropProgram, "passwd": passwdProgram,
}

// open is launch.Open with what a program really has.
func open() (*launch.Launch, error) {
	return launch.Open(launch.Request{Name: "local-test", Environ: os.Environ(), Stdin: os.Stdin,
		Stdout: os.Stdout, Stderr: os.Stderr})
}

// program starts one of programs. The caller closes what it gave it.
func program(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	command := exec.Command("/proc/self/exe", args...)
	command.Env = []string{"LOCAL_TEST_PROGRAM=" + name, "PATH=/usr/bin:/bin", "GORACE=" + os.Getenv("GORACE")}
	return command
}

// launched returns a connection and the file to give to a program.
func launched(t *testing.T) (net.Conn, *os.File) {
	t.Helper()
	conn, file, err := launch.Pair()
	must(t, err)
	must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	t.Cleanup(func() { conn.Close(); file.Close() })
	return conn, file
}

// execProgram becomes dash on its connection, after making what could leak. argument 7 is another program
// to exec.
func execProgram(args []string) int {
	l, err := open()
	if err != nil {
		l.Log.Critf("%v", err)
		return 1
	}
	// A file descriptor without close-on-exec, as a launcher may leave one behind, and a signal as make leaves
	// it that the shell cannot ignore. (Not 33: where the tests are linked with the C library, that needs
	// it to change the user.)
	for _, signal := range []uintptr{32, lastSignal} {
		if _, err := setSignal(signal, &sigaction{sigIgnore}); err != nil {
			return 2
		}
	}
	if _, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0); err != nil {
		return 2
	}
	target := server(args)
	if len(args) > 7 {
		target.Path = args[7]
	}
	err = execServer(l.Conn, target)
	if errors.Is(err, ErrChanged) {
		err = fmt.Errorf("changed: %w", err)
	}
	l.Log.Errf("%v", err)
	return 3
}

// startProgram is execProgram with a child.
func startProgram(args []string) int {
	l, err := open()
	if err != nil {
		return 1
	}
	if _, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0); err != nil {
		return 2
	}
	before := ignoredSignals()
	process, err := start(l.Conn.(syscall.Conn), os.Stderr, server(args))
	if err != nil {
		l.Log.Errf("%v", err)
		return 3
	}
	if after := ignoredSignals(); after != before || after == "" || strings.HasSuffix(after, "0000") {
		l.Log.Errf("ignored signals before %q, after %q", before, after)
	}
	if _, err := process.Wait(); err != nil {
		return 4
	}
	return 0
}

// ignoredSignals is this process's set of ignored signals, in hexadecimal.
func ignoredSignals() string {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "\nSigIgn:\t")
	set, _, _ := strings.Cut(rest, "\n")
	return set
}

// dropProgram gives up root rights and says who it is then, from every thread of the process.
func dropProgram(args []string) int {
	drop := DropRoot
	if len(args) > 1 {
		drop = DropRootAtStart
	}
	if err := drop(args[0]); err != nil {
		fmt.Println(err)
		return 1
	}
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) == 0 {
		return 2
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			return 3
		}
		for line := range strings.Lines(string(text)) {
			switch name, _, _ := strings.Cut(line, ":"); name {
			case "Uid", "Gid", "Groups", "Cpus_allowed_list", "NoNewPrivs":
				if name == "NoNewPrivs" && len(args) == 1 {
					continue
				}
				fmt.Print(strings.Join(strings.Fields(line), " "), "\n")
			}
		}
	}
	return 0
}

// passwdProgram becomes the program args[1] with the file args[0] as /etc/passwd.
func passwdProgram(args []string) int {
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err == nil {
		err = unix.Mount(args[0], "/etc/passwd", "", unix.MS_BIND, "")
	}
	if err == nil {
		err = syscall.Exec("/proc/self/exe", append([]string{"test"}, args[2:]...),
			[]string{"LOCAL_TEST_PROGRAM=" + args[1]})
	}
	fmt.Fprintln(os.Stderr, err)
	return 5
}

// become runs the exec or start program under a launcher that leaves SIGPIPE and SIGHUP ignored, a low soft
// NOFILE limit, and a timer slack of a millisecond, and returns the report line by line.
func become(t *testing.T, name string, args ...string) (answer []string, log string) {
	t.Helper()
	conn, file := launched(t)
	var stderr strings.Builder
	command := exec.Command("/bin/dash",
		append([]string{"-c", `trap '' PIPE HUP TSTP; ulimit -Sn 77; echo 1000000 >/proc/$$/timerslack_ns
exec "$0" "$@"`,
			"/proc/" + strconv.Itoa(os.Getpid()) + "/exe"}, args...)...)
	command.Env = []string{"LOCAL_TEST_PROGRAM=" + name, "GORACE=" + os.Getenv("GORACE")}
	command.Stdin, command.Stdout, command.Stderr = file, file, &stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	file.Close()
	// Sent before the program runs: it has to be there for the program that it becomes.
	io.WriteString(conn, "pipelined\n")
	text, err := io.ReadAll(conn)
	// A program that ends with unread data resets the connection.
	if err != nil && !errors.Is(err, unix.ECONNRESET) {
		t.Error(err)
	}
	_ = command.Wait()
	return strings.Split(strings.TrimSpace(string(text)), "\n"), stderr.String()
}

// openDir is a directory that every user can enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "local-test-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
