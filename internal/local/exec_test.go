package local

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// report is what the shell says about the process it is in. (While it has a child it blocks signals, so it
// reads its status alone.)
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

// server is what the helper programs exec. args: uid, gid, user, home, skeleton, address space,
// "nonblocking" or not.
func server(args []string) *Server {
	addressSpace, _ := strconv.Atoi(args[5]) // nothing is 0
	l := &Server{
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

// wantReport is what an exec'ed program has to find.
func wantReport(ids, home string, flags string, as string) []string {
	flag := "flags:\t" + flags
	return []string{
		"args=one two", ids, "pwd=" + home, "nofile=77 as=" + as + " umask=0027",
		"SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "slack=1000000", flag, flag, "0, 1, 2",
		"env=ONLY=this ", "read=pipelined",
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
	for _, l := range []*Server{{SystemUser: "nobody"}, {SystemUser: "www-data"}} {
		id, err := l.identity()
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("/usr/bin/id", "-G", l.SystemUser).Output()
		if err != nil {
			t.Fatal(err)
		}
		ours := strings.Trim(fmt.Sprint(id.Groups), "[]")
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
		{[]string{"", "", "", home, "", "", ""},
			[]string{"ERR: the account has neither a system user nor both uid and gid"}},
		{[]string{"", "", "no-such-user", home, "", "", ""},
			[]string{`ERR: system user "no-such-user": user: unknown user no-such-user`}},
		{[]string{"1234", "4321", "", "", "", "", ""},
			[]string{"ERR: home directory cannot be entered: the account has none"}},
		{[]string{"1234", "4321", "", "/nonexistent", "", "", ""},
			[]string{"ERR: changed: home directory cannot be entered: chdir /nonexistent: no such file or directory"}},
		{[]string{"1234", "4321", "", "/root", "", "", ""},
			[]string{"ERR: changed: home directory cannot be entered: chdir /root: permission denied"}},
		{[]string{"1234", "4321", "", home, "", "", "", "/nonexistent"},
			[]string{"ERR: program cannot be run: no such file or directory"}},
		{[]string{"1234", "4321", "", home, "", "", "", "/etc/passwd"},
			[]string{"ERR: program cannot be run: permission denied"}},
		{[]string{"1234", "4321", "", "/nonexistent/home", "/etc/skel", "", ""},
			[]string{"ERR: home directory cannot be entered: making the home: "}},
	} {
		answer, log := become(t, "exec", test.args...)
		if !strings.HasPrefix(log, test.want[0]) || strings.Count(log, "\n") != 1 ||
			strings.Join(answer, "") != "" {
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
	if want := "ERR: changed: program cannot be run: exec format error\n"; log != want ||
		strings.Join(answer, "") != "" {
		t.Errorf("no program: log %q, want %q, answer %q", log, want, answer)
	}
	_, log = become(t, "start", "1234", "4321", "", "/root", "", "", "")
	if want := "ERR: home directory cannot be entered: /root: "; !strings.HasPrefix(log, want) {
		t.Errorf("start: log %q, want %q...", log, want)
	}
}

// passwdFileOf is a passwd(5) with users whose ids no session may have.
func passwdFileOf(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "passwd")
	must(t, os.WriteFile(name,
		[]byte("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nuid-root:x:0:100::/:/bin/false\n"+
			"gid-root:x:100:0::/:/bin/false\nuid-none:x:4294967295:100::/:/bin/false\n"+
			"gid-none:x:100:4294967295::/:/bin/false\n"), 0o644))
	return name
}

// notProgram is a file that is executable and no program.
func notProgram(t *testing.T) string {
	t.Helper()
	name := filepath.Join(openDir(t), "no-program")
	must(t, os.WriteFile(name, []byte("\x7fno"), 0o755))
	return name
}
