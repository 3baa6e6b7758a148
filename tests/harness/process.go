package harness

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a started program with everything it starts.
type Process struct {
	Cmd  *exec.Cmd
	Log  *Log // what it writes to standard output and standard error
	name string
	done chan struct{} // closed when it has ended
	once sync.Once
}

// Start starts cmd in a process group of its own. Its output goes to the Log (unless cmd says otherwise),
// which is shown when the test fails. At the end of the test it gets SIGTERM, and what is left of the group
// after 3 seconds SIGKILL.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	log := new(Log)
	return startLogging(t, cmd, log, log)
}

// startLogging is Start with a Log that others may write to as well; the output goes to out.
func startLogging(t testing.TB, cmd *exec.Cmd, log *Log, out io.Writer) *Process {
	t.Helper()
	p := &Process{Cmd: cmd, Log: log, name: filepath.Base(cmd.Path), done: make(chan struct{})}
	// A pipe of our own: a successor of the program, as relayd has, writes there when the program has long
	// ended.
	in, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if cmd.Stdout == nil {
		cmd.Stdout = pipe
	}
	if cmd.Stderr == nil {
		cmd.Stderr = pipe
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.WaitDelay = time.Second
	err = cmd.Start()
	pipe.Close()
	if err != nil {
		in.Close()
		t.Fatalf("start %s (missing? tests/install.sh installs what the tests need): %v", cmd, err)
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		defer in.Close()
		io.Copy(out, in)
	}()
	go func() {
		cmd.Wait()
		select { // all that the program wrote is in the log, unless somebody else still has the pipe
		case <-copied:
		case <-time.After(time.Second):
		}
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("--- log of %s:\n%s", p.name, p.Log)
		}
	})
	return p
}

// Ended reports whether the program has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Stop ends the program and its group as at the end of the test.
func (p *Process) Stop() {
	p.once.Do(func() {
		syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(3 * time.Second):
		}
		syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	})
}

// Wait waits for the program to end by itself and returns its exit status; it ends the test when it does not
// in time.
func (p *Process) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(Patience):
		t.Fatalf("%s does not end; its log:\n%s", p.name, p.Log)
	}
	return p.Cmd.ProcessState.ExitCode()
}

// ready waits for the condition and ends the test when the program ends first or takes too long.
func (p *Process) ready(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ok := Eventually(func() bool { return p.Ended() || condition() })
	if !ok || p.Ended() && !condition() {
		t.Fatalf("%s: no %s (ended: %v); its log:\n%s", p.name, what, p.Ended(), p.Log)
	}
}

// Run runs a program to its end and returns its output; it ends the test when the program fails.
func Run(t testing.TB, stdin string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// Proc is a process that runs on the island.
type Proc struct {
	PID  int
	Comm string // the kernel's name for it: the program's first 15 bytes
	Args []string
}

// Procs lists the processes that are alive (zombies are not), all or those of these programs (file names).
func Procs(t testing.TB, names ...string) []Proc {
	t.Helper()
	var procs []Proc
	directories, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, directory := range directories {
		args, err := os.ReadFile(directory + "/cmdline")
		comm, _ := os.ReadFile(directory + "/comm")
		p := Proc{Comm: strings.TrimSpace(string(comm)),
			Args: strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")}
		named := func(name string) bool { return p.Comm == name[:min(len(name), 15)] }
		if err != nil || len(args) == 0 || len(names) > 0 && !slices.ContainsFunc(names, named) {
			continue
		}
		p.PID, _ = strconv.Atoi(filepath.Base(directory))
		procs = append(procs, p)
	}
	return procs
}

// NoneLeft waits until no process of these programs (file names) is alive, and ends the test when one stays.
func NoneLeft(t testing.TB, names ...string) {
	t.Helper()
	var left []Proc
	if !Eventually(func() bool { left = Procs(t, names...); return len(left) == 0 }) {
		t.Fatalf("processes left: %v", left)
	}
}
