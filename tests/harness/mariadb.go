package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// MariaDB starts MariaDB with an empty database "mail" in utf8mb4 on addr (127.0.x.y), port 3306, and on
// the unix socket "s" in its Dir. The user "mail" with the password "my'secret" may do everything.
// settings are further options, such as "--sql-mode=...".
func MariaDB(t testing.TB, addr string, settings ...string) *Database {
	t.Helper()
	d := &Database{Addr: addr, Dir: Dir(t)}
	uid, gid, err := ids("mysql")
	if err != nil {
		t.Fatal(err)
	}
	data, socket := filepath.Join(d.Dir, "data"), filepath.Join(d.Dir, "s")
	if err := os.Chown(d.Dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	copyOfEmpty(t, "mariadb", data, uid, gid, func(dir string) *exec.Cmd {
		return exec.Command(
			"mariadb-install-db",
			"--no-defaults",
			"--datadir="+dir,
			"--user=mysql",
			"--skip-test-db",
			"--innodb-log-file-size=4M",
			"--innodb-flush-method=nosync",
			"--tmpdir="+d.Dir,
		)
	})
	args := append(
		[]string{
			"--no-defaults",
			"--datadir=" + data,
			"--tmpdir=" + d.Dir,
			"--socket=" + socket,
			"--bind-address=" + addr,
			"--innodb-log-file-size=4M",
			"--innodb-buffer-pool-size=16M",
			"--innodb-flush-method=nosync",
			"--innodb-flush-log-at-trx-commit=2",
			"--skip-name-resolve",
			"--character-set-server=utf8mb4",
		},
		settings...)
	d.start = func(t testing.TB) *Process {
		cmd := exec.Command("mariadbd", args...)
		cmd.Dir = d.Dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		return Start(t, cmd)
	}
	client := func(sql string, more ...string) *exec.Cmd {
		cmd := exec.Command(
			"mariadb",
			append(
				[]string{"--no-defaults", "--default-character-set=utf8mb4", "-S", socket, "-u", "root", "-N", "-B"},
				more...)...)
		cmd.Stdin = strings.NewReader(sql)
		return cmd
	}
	d.up = func() bool { return client("select 1").Run() == nil }
	d.shell = func(sql string) *exec.Cmd { return client(sql, "mail") }
	d.launch(t)
	if out, err := client("create database mail character set utf8mb4; create user mail@'%' identified by " +
		"'my''secret';" +
		"grant all on *.* to mail@'%'").CombinedOutput(); err != nil {
		t.Fatalf("create database: %v\n%s", err, out)
	}
	return d
}
