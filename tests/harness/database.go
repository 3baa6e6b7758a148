package harness

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"mailproxy/tests/testprocess"
)

// Database is a real database server that a test may kill, freeze and start again.
type Database struct {
	*Process
	Addr string // without a port
	Dir  string

	start func(t testing.TB) *Process
	shell func(sql string) *exec.Cmd
	up    func() bool
}

// copyOfEmpty gives a new server the data of an empty database of this kind, which belongs to uid and gid.
// It is made by the first server that the package's tests start, with the command that install returns for a
// directory: making it takes as long as everything else about a server.
func copyOfEmpty(t testing.TB, kind, data string, uid, gid int, install func(dir string) *exec.Cmd) {
	t.Helper()
	empty := filepath.Join(os.Getenv(dirVar), "empty-"+kind)
	unlock, err := lock(empty + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := os.Stat(empty); err != nil {
		dir := filepath.Join(Dir(t), kind)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, uid, gid)); err != nil {
			t.Fatal(err)
		}
		cmd := install(dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", filepath.Base(cmd.Path), err, out)
		}
		if err := os.Rename(dir, empty); err != nil {
			t.Fatal(err)
		}
	}
	Run(t, "", "cp", "-a", empty, data)
}

// launch starts the server and waits until it answers.
func (d *Database) launch(t testing.TB) {
	t.Helper()
	d.Process = d.start(t)
	d.ready(t, "answer", d.up)
}

// Kill ends the server as a power failure would, with kill -9, and waits for its end and that of all its
// processes: PostgreSQL does not start again as long as one of them has the shared memory.
func (d *Database) Kill(t testing.TB) {
	t.Helper()
	d.Freeze(t) // so that no process is started that is not in the list
	procs := d.procs(t)
	d.signal(t, syscall.SIGKILL)
	<-d.done
	gone := func(p Proc) bool { return syscall.Kill(p.PID, 0) == syscall.ESRCH }
	if !Eventually(func() bool { return !slices.ContainsFunc(procs, func(p Proc) bool { return !gone(p) }) }) {
		t.Fatal("the server's processes do not end")
	}
}

// Restart starts the server again with its data after Kill or Stop.
func (d *Database) Restart(t testing.TB) {
	t.Helper()
	d.launch(t)
}

// Freeze makes the server mute: it keeps its connections and the kernel accepts new ones, but nothing
// answers. Thaw ends it.
func (d *Database) Freeze(t testing.TB) {
	t.Helper()
	stopped := func() bool {
		d.signal(t, syscall.SIGSTOP) // again and again: a process may have been started meanwhile
		return !slices.ContainsFunc(d.procs(t), func(p Proc) bool { return !testprocess.Stopped(p.PID) })
	}
	if !Eventually(stopped) {
		t.Fatal("the server does not stop")
	}
}

// Thaw wakes a frozen server.
func (d *Database) Thaw(t testing.TB) { t.Helper(); d.signal(t, syscall.SIGCONT) }

func (d *Database) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	for _, p := range d.procs(t) {
		if err := syscall.Kill(p.PID, s); err != nil && err != syscall.ESRCH {
			t.Fatal(err)
		}
	}
}

// procs lists the server's processes. PostgreSQL's backends are in process groups of their own.
func (d *Database) procs(t testing.TB) (list []Proc) {
	t.Helper()
	for _, p := range Procs(t) {
		if pgid, err := syscall.Getpgid(p.PID); err == nil &&
			(pgid == d.Cmd.Process.Pid || parent(p.PID) == d.Cmd.Process.Pid) {
			list = append(list, p)
		}
	}
	return list
}

// SQL runs statements as the server's administrator and returns what its own client prints.
func (d *Database) SQL(t testing.TB, sql string) string {
	t.Helper()
	cmd := d.shell(sql)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", filepath.Base(cmd.Path), err, sql, out)
	}
	return string(out)
}
