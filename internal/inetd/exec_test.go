package inetd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// report is what the shell says about the process it is in. (While it has a child it blocks signals, so it reads its status alone.)
const report = `
exec 2>&1
echo "args=$*"
echo "uid=$(id -u) gid=$(id -g) groups=$(id -G)"
echo "pwd=$(pwd)"
echo "nofile=$(ulimit -Sn) as=$(ulimit -v) umask=$(umask)"
while read -r l; do case $l in SigBlk*|SigIgn*) echo "$l";; esac; done < /proc/$$/status
read -r slack < /proc/self/timerslack_ns; echo "slack=$slack"
for n in 0 1; do grep flags /proc/$$/fdinfo/$n; done
ls -m /proc/$$/fd
echo "env=$(env | grep -v -e ^PWD -e ^OLDPWD -e ^_= | sort | tr '\n' ' ')"
read line; echo "read=$line"
`

// local is what the helper programs exec. args: uid, gid, user, home, skeleton, address space, "nonblocking" or not.
func local(args []string) *Local {
	addressSpace, _ := strconv.Atoi(args[5]) // nothing is 0
	l := &Local{
		Path: "/bin/dash", Args: []string{"-c", report, "report", "one", "two"}, Environ: []string{"ONLY=this"},
		SystemUser: args[2], Home: args[3], Skeleton: args[4], AddressSpace: addressSpace,
		NonBlocking: args[6] == "nonblocking", Umask: 0o027,
	}
	if args[0] != "" {
		uid, _ := strconv.ParseUint(args[0], 10, 32)
		gid, _ := strconv.ParseUint(args[1], 10, 32)
		u, g := uint32(uid), uint32(gid)
		l.UID, l.GID = &u, &g
	}
	return l
}

// execProgram becomes dash on its connection, after making what could leak. argument 7 is another program to exec.
func execProgram(args []string) int {
	l, err := open()
	if err != nil {
		l.Log.Critf("%v", err)
		return 1
	}
	// A descriptor without close-on-exec, as a launcher may leave one behind, and a signal as make leaves it that the shell
	// can not ignore. (Not 33: where the tests are linked with the C library, that needs it to change the user.)
	for _, signal := range []uintptr{32, lastSignal} {
		if _, err := setSignal(signal, &sigaction{sigIgnore}); err != nil {
			return 2
		}
	}
	if _, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0); err != nil {
		return 2
	}
	target := local(args)
	if len(args) > 7 {
		target.Path = args[7]
	}
	err = Exec(l.Conn, target)
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
	process, err := Start(l.Conn.(syscall.Conn), os.Stderr, local(args))
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
	if err := DropRoot(args[0]); err != nil {
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
			case "Uid", "Gid", "Groups", "Cpus_allowed_list":
				fmt.Print(strings.Join(strings.Fields(line), " "), "\n")
			}
		}
	}
	return 0
}

// become runs the exec or start program under a launcher that leaves SIGPIPE and SIGHUP ignored, a low soft NOFILE limit, and a
// timer slack of a millisecond, and returns the report line by line.
func become(t *testing.T, name string, args ...string) (answer []string, log string) {
	t.Helper()
	conn, file := socketPair(t)
	var stderr strings.Builder
	command := exec.Command("/bin/dash", append([]string{"-c", `trap '' PIPE HUP TSTP; ulimit -Sn 77; echo 1000000 >/proc/$$/timerslack_ns
exec "$0" "$@"`,
		"/proc/" + strconv.Itoa(os.Getpid()) + "/exe"}, args...)...)
	command.Env = []string{"INETD_TEST_PROGRAM=" + name}
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

// wantReport is what an exec'ed program has to find.
func wantReport(ids, home string, flags string, as string) []string {
	flag := "flags:\t" + flags
	return []string{
		"args=one two", ids, "pwd=" + home, "nofile=77 as=" + as + " umask=0027",
		"SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "slack=1000000", flag, flag, "0, 1, 2", "env=ONLY=this ", "read=pipelined",
	}
}

const (
	blocking    = "02"
	nonBlocking = "04002"
)

func TestExec(t *testing.T) {
	home := openDir(t)
	for _, test := range []struct {
		name string
		args []string
		want []string
	}{
		{"exec", []string{"1234", "4321", "", home, "", "", "nonblocking"},
			wantReport("uid=1234 gid=4321 groups=4321", home, nonBlocking, "unlimited")},
		{"exec", []string{"1234", "4321", "", home, "", "", "blocking"},
			wantReport("uid=1234 gid=4321 groups=4321", home, blocking, "unlimited")},
		{"exec", []string{"1234", "4321", "", home, "", "131072", "blocking"},
			wantReport("uid=1234 gid=4321 groups=4321", home, blocking, "131072")},
		{"exec", []string{"", "", "nobody", home, "", "", "blocking"},
			wantReport("uid=65534 gid=65534 groups=65534", home, blocking, "unlimited")},
		{"start", []string{"1234", "4321", "", home, "", "", "nonblocking"},
			wantReport("uid=1234 gid=4321 groups=4321", home, nonBlocking, "unlimited")},
		{"start", []string{"1234", "4321", "", home, "", "131072", "blocking"},
			wantReport("uid=1234 gid=4321 groups=4321", home, blocking, "131072")},
	} {
		got, log := become(t, test.name, test.args...)
		if !slices.Equal(got, test.want) || log != "" {
			t.Errorf("%s %q:\ngot  %q\nwant %q\nlog %q", test.name, test.args, got, test.want, log)
		}
	}
}

// A system user brings all groups.
func TestExecGroups(t *testing.T) {
	for _, l := range []*Local{{SystemUser: "nobody"}, {SystemUser: "www-data"}} {
		id, err := l.identity()
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("/usr/bin/id", "-G", l.SystemUser).Output()
		if err != nil {
			t.Fatal(err)
		}
		ours := strings.Trim(fmt.Sprint(id.groups), "[]")
		if want := strings.TrimSpace(string(out)); ours != want {
			t.Errorf("%s: groups %s, id says %s", l.SystemUser, ours, want)
		}
	}
}

func TestExecErrors(t *testing.T) {
	home := openDir(t)
	for _, test := range []struct{ args, want []string }{
		{[]string{"0", "4321", "", home, "", "", ""}, []string{"ERR: the account belongs to root"}},
		{[]string{"1234", "0", "", home, "", "", ""}, []string{"ERR: the account belongs to root"}},
		{[]string{"", "", "root", home, "", "", ""}, []string{"ERR: the account belongs to root"}},
		{[]string{"", "", "", home, "", "", ""}, []string{"ERR: the account has neither a system user nor both uid and gid"}},
		{[]string{"", "", "no-such-user", home, "", "", ""}, []string{`ERR: system user "no-such-user": user: unknown user no-such-user`}},
		{[]string{"1234", "4321", "", "", "", "", ""}, []string{"ERR: home directory can not be entered: the account has none"}},
		{[]string{"1234", "4321", "", "/nonexistent", "", "", ""},
			[]string{"ERR: changed: home directory can not be entered: chdir /nonexistent: no such file or directory"}},
		{[]string{"1234", "4321", "", "/root", "", "", ""}, []string{"ERR: changed: home directory can not be entered: chdir /root: permission denied"}},
		{[]string{"1234", "4321", "", home, "", "", "", "/nonexistent"}, []string{"ERR: program can not be run: no such file or directory"}},
		{[]string{"1234", "4321", "", home, "", "", "", "/etc/passwd"}, []string{"ERR: program can not be run: permission denied"}},
		{[]string{"1234", "4321", "", "/nonexistent/home", "/etc/skel", "", ""},
			[]string{"ERR: home directory can not be entered: making the home: "}},
	} {
		answer, log := become(t, "exec", test.args...)
		if !strings.HasPrefix(log, test.want[0]) || strings.Count(log, "\n") != 1 || strings.Join(answer, "") != "" {
			t.Errorf("%q: log %q, answer %q", test.args, log, answer)
		}
	}
	// Ids that nobody has, by number and by name, for both ways of running a local server.
	const none = "4294967295"
	passwd := passwdFileOf(t)
	for _, way := range []string{"exec", "start"} {
		for _, test := range []struct{ uid, gid, user, want string }{
			{"0", "4321", "", "ERR: the account belongs to root\n"},
			{"1234", "0", "", "ERR: the account belongs to root\n"},
			{none, "4321", "", "ERR: uid or gid 4294967295 is nobody's\n"},
			{"1234", none, "", "ERR: uid or gid 4294967295 is nobody's\n"},
			{none, none, "", "ERR: uid or gid 4294967295 is nobody's\n"},
			{"", "", "uid-root", "ERR: the account belongs to root\n"},
			{"", "", "gid-root", "ERR: the account belongs to root\n"},
			{"", "", "uid-none", "ERR: uid or gid 4294967295 is nobody's\n"},
			{"", "", "gid-none", "ERR: uid or gid 4294967295 is nobody's\n"},
		} {
			answer, log := become(t, "passwd", passwd, way, test.uid, test.gid, test.user, home, "", "", "")
			if log != test.want || strings.Join(answer, "") != "" {
				t.Errorf("%s %+v: log %q, answer %q", way, test, log, answer)
			}
		}
	}
	// What comes after the change of user says so, whether or not the program then could be found.
	answer, log := become(t, "exec", "1234", "4321", "", home, "", "", "", notProgram(t))
	if want := "ERR: changed: program can not be run: exec format error\n"; log != want || strings.Join(answer, "") != "" {
		t.Errorf("no program: log %q, want %q, answer %q", log, want, answer)
	}
	_, log = become(t, "start", "1234", "4321", "", "/root", "", "", "")
	if want := "ERR: home directory can not be entered: /root: "; !strings.HasPrefix(log, want) {
		t.Errorf("start: log %q, want %q...", log, want)
	}
}

// passwdFileOf is a passwd(5) with users whose ids no session may have.
func passwdFileOf(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "passwd")
	must(t, os.WriteFile(name, []byte("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nuid-root:x:0:100::/:/bin/false\n"+
		"gid-root:x:100:0::/:/bin/false\nuid-none:x:4294967295:100::/:/bin/false\ngid-none:x:100:4294967295::/:/bin/false\n"), 0o644))
	return name
}

// passwdProgram becomes the program args[1] with the file args[0] as /etc/passwd.
func passwdProgram(args []string) int {
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err == nil {
		err = unix.Mount(args[0], passwdFile, "", unix.MS_BIND, "")
	}
	if err == nil {
		err = syscall.Exec("/proc/self/exe", append([]string{"test"}, args[2:]...), []string{"INETD_TEST_PROGRAM=" + args[1]})
	}
	fmt.Fprintln(os.Stderr, err)
	return 5
}

// A user whose ids no session may have is none to drop root for, and the process stays what it was.
func TestDropRootRefuses(t *testing.T) {
	passwd := passwdFileOf(t)
	for user, want := range map[string]string{
		"uid-root": "has uid 0 and gid 100", "gid-root": "has uid 100 and gid 0",
		"uid-none": "has uid 4294967295 and gid 100", "gid-none": "has uid 100 and gid 4294967295",
	} {
		out, err := program(t, "passwd", passwd, "drop", user).Output()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, %q; want %q", user, err, out, want)
		}
	}
}

// Every thread is another user then, may run where it might before, and is in no group, whatever it was in.
func TestDropRoot(t *testing.T) {
	status, err := os.ReadFile("/proc/self/status")
	must(t, err)
	_, processors, _ := strings.Cut(string(status), "\nCpus_allowed_list:\t")
	processors, _, _ = strings.Cut(processors, "\n")
	for _, groups := range [][]uint32{nil, {0, 4, 24}} {
		threads := 0
		command := program(t, "drop", "nobody")
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Groups: groups}}
		out, err := command.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			switch strings.TrimSpace(line) {
			case "Uid: 65534 65534 65534 65534", "Gid: 65534 65534 65534 65534", "Cpus_allowed_list: " + processors:
			case "Groups:":
				threads++
			default:
				t.Errorf("in groups %d: a thread has %s", groups, line)
			}
		}
		if threads < 2 {
			t.Errorf("%d threads, which proves nothing", threads)
		}
	}
	for name, want := range map[string]string{
		"root": `system user "root" has uid 0 and gid 0, which no session may have`, "no-such-user": `system user "no-such-user": user: unknown user no-such-user`,
	} {
		if out, err := program(t, "drop", name).Output(); err == nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s: %v, %q; want %q", name, err, out, want)
		}
	}
	if out, err := program(t, "drop", "").Output(); err != nil {
		t.Errorf("default users: %v: %s", err, out)
	}
}

func TestMakeHome(t *testing.T) {
	skeleton, parent := t.TempDir(), openDir(t)
	must(t, os.Chmod(skeleton, 0o711))
	must(t, os.MkdirAll(filepath.Join(skeleton, "Maildir", "cur"), 0o700))
	must(t, os.WriteFile(filepath.Join(skeleton, "a"), []byte("text"), 0o640))
	must(t, os.WriteFile(filepath.Join(skeleton, "set-id"), nil, 0o600))
	must(t, os.Chmod(filepath.Join(skeleton, "set-id"), 0o750|os.ModeSetgid))
	must(t, os.Symlink("/etc/passwd", filepath.Join(skeleton, "link")))
	home := filepath.Join(parent, "new")
	got, log := become(t, "exec", "1234", "4321", "", home, skeleton, "", "blocking")
	if want := wantReport("uid=1234 gid=4321 groups=4321", home, blocking, "unlimited"); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q\nlog %s", got, want, log)
	}
	for name, mode := range map[string]os.FileMode{
		".": os.ModeDir | 0o711, "Maildir": os.ModeDir | 0o700, "Maildir/cur": os.ModeDir | 0o700, "a": 0o640,
		"set-id": os.ModeSetgid | 0o750, "link": os.ModeSymlink | 0o777,
	} {
		info, err := os.Lstat(filepath.Join(home, name))
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(home, name), &st))
		if info.Mode() != mode || st.Uid != 1234 || st.Gid != 4321 {
			t.Errorf("%s: %v %d:%d, want %v 1234:4321", name, info.Mode(), st.Uid, st.Gid, mode)
		}
	}
	var passwd unix.Stat_t
	must(t, unix.Stat("/etc/passwd", &passwd))
	if passwd.Uid != 0 {
		t.Error("the link's target has a new owner")
	}
	must(t, os.WriteFile(filepath.Join(home, "mine"), nil, 0o600))
	must(t, makeHome(home, skeleton, 1, 1))
	if _, err := os.Stat(filepath.Join(home, "mine")); err != nil {
		t.Error("an existing home was replaced")
	}
	must(t, unix.Mkfifo(filepath.Join(skeleton, "pipe"), 0o600))
	if err := makeHome(filepath.Join(parent, "bad"), skeleton, 1234, 4321); err == nil {
		t.Error("a pipe in the skeleton was copied")
	}
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// notProgram is a file that is executable and no program.
func notProgram(t *testing.T) string {
	t.Helper()
	name := filepath.Join(openDir(t), "no-program")
	must(t, os.WriteFile(name, []byte("\x7fno"), 0o755))
	return name
}

// The parent's owner swaps the half-made home for a link to somewhere else, again and again: nothing appears there, and
// nothing there changes its owner.
func TestMakeHomeRace(t *testing.T) {
	skeleton, parent, target := t.TempDir(), openDir(t), openDir(t)
	for i := range 50 {
		must(t, os.WriteFile(filepath.Join(skeleton, strconv.Itoa(i)), nil, 0o600))
	}
	// What an attacker has prepared: a file of root's under the name that a file of the skeleton gets.
	must(t, os.Mkdir(filepath.Join(target, "home"), 0o755))
	must(t, os.WriteFile(filepath.Join(target, "home", "25"), nil, 0o600))
	stop, stopped := make(chan bool), make(chan int)
	go func() {
		swaps := 0
		for {
			select {
			case <-stop:
				stopped <- swaps
				return
			default:
			}
			found, _ := filepath.Glob(filepath.Join(parent, ".h*.new-*"))
			for _, work := range found {
				if os.Rename(work, work+"-away") == nil && os.Symlink(target, work) == nil {
					swaps++
				}
			}
		}
	}()
	for i := range 200 {
		_ = makeHome(filepath.Join(parent, "h"+strconv.Itoa(i)), skeleton, 1234, 4321)
	}
	close(stop)
	if <-stopped == 0 {
		t.Fatal("nothing was swapped, which proves nothing")
	}
	err := filepath.WalkDir(target, func(path string, _ os.DirEntry, err error) error {
		must(t, err)
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		if st.Uid != 0 {
			t.Errorf("%s has the owner %d", path, st.Uid)
		}
		return nil
	})
	must(t, err)
	if entries, err := os.ReadDir(filepath.Join(target, "home")); err != nil || len(entries) != 1 {
		t.Errorf("in the link's target: %v, %v", entries, err)
	}
}

// openDir is a folder that every user can enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "inetd-test-")
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
