package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// PostgresPassword is the password of the administrator postgres.
const PostgresPassword = "pg'secret"

// Postgres starts PostgreSQL with an empty database "mail" in UTF-8 on addr (127.0.x.y), port 5432, and on
// a unix socket in its Dir. Passwords are checked by scram-sha-256. settings are further settings, such as
// "ssl=on".
func Postgres(t testing.TB, addr string, settings ...string) *Database {
	t.Helper()
	d := &Database{Addr: addr, Dir: Dir(t)}
	bin := newest(t, "/usr/lib/postgresql/*/bin")
	uid, gid, err := ids("postgres")
	if err != nil {
		t.Fatal(err)
	}
	as := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir = d.Dir
		cmd.Env = append(os.Environ(), "PGPASSWORD="+PostgresPassword)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		return cmd
	}
	data, pw := filepath.Join(d.Dir, "data"), filepath.Join(d.Dir, "pw")
	WriteFile(t, pw, PostgresPassword+"\n", 0o644)
	if err := os.Chown(d.Dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	copyOfEmpty(t, "postgres", data, uid, gid, func(dir string) *exec.Cmd {
		return as("initdb", "-N", "-D", dir, "-A", "scram-sha-256", "--pwfile="+pw, "-E", "UTF8",
			"--locale=C.UTF-8")
	})
	args := []string{
		"-D",
		data,
		"-c",
		"listen_addresses=" + addr,
		"-c",
		"unix_socket_directories=" + d.Dir,
		"-c",
		"fsync=off",
		"-c",
		"shared_buffers=16MB",
		"-c",
		"max_connections=60",
	}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	d.start = func(t testing.TB) *Process { return Start(t, as("postgres", args...)) }
	psql := func(db, sql string) *exec.Cmd {
		cmd := as("psql", "-h", d.Dir, "-U", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", db, "-f", "-")
		cmd.Stdin = strings.NewReader(sql)
		return cmd
	}
	d.up = func() bool { return psql("postgres", "select 1").Run() == nil }
	d.shell = func(sql string) *exec.Cmd { return psql("mail", sql) }
	d.launch(t)
	if out, err := psql("postgres", "create database mail").CombinedOutput(); err != nil {
		t.Fatalf("create database: %v\n%s", err, out)
	}
	return d
}

// newest returns the last of the files that pattern matches.
func newest(t testing.TB, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("nothing matches %s (tests/install.sh installs what the tests need): %v", pattern, err)
	}
	return slices.Max(found)
}

// parent returns the parent's process number; 0 when there is no such process.
func parent(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	var ppid int
	_, rest, _ := strings.Cut(string(text), ") ")
	if _, err := fmt.Sscanf(rest[min(2, len(rest)):], "%d", &ppid); err != nil {
		return 0
	}
	return ppid
}
