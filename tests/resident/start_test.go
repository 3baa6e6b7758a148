package resident

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mailproxy/tests/harness"
)

const startAddr = "127.0.1.3"

// start starts the program as it is shipped, as root, and returns it without waiting for anything.
func start(t *testing.T, user string, settings ...string) *harness.Process {
	t.Helper()
	cmd := exec.Command(harness.PlainBin(t, "imapd-proxy"), "-user", user, "-listen", startAddr+":143",
		"-listen", "tls:"+startAddr+":993")
	cmd.Env = append([]string{"RELAY_SOCKET=", "PATH=/usr/bin:/bin"}, settings...)
	return harness.Start(t, cmd)
}

// One file that cannot be read stops the start, with its name and the command that mends it; with the command
// run, the program starts.
func TestStartNamesUnreadableFile(t *testing.T) {
	harness.Site{}.Start(t)
	groups(t, "mailproxy-keys:x:4711:")
	file := filepath.Join(harness.Dir(t), "master")
	harness.WriteFile(t, file, "secret\n", 0o600)
	settings := []string{"PROXY_MASTER_USER=m", "PROXY_MASTER_PASSWORD_FILE=" + file}
	p := start(t, "courier", settings...)
	if status := p.Wait(t); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	line := p.Log.Wait(t, "^CRIT: PROXY_MASTER_PASSWORD_FILE: user courier cannot read "+file+
		": permission denied; this helps: usermod -a -G mailproxy-keys courier; chgrp mailproxy-keys "+file+
		"; chmod 0640 "+file+"$")
	if n := len(p.Log.Lines()); n != 1 {
		t.Errorf("%d lines, want one", n)
	}
	_, command, _ := strings.Cut(line, "; chgrp")
	harness.Run(t, "", "sh", "-c", "chgrp"+command)
	groups(t, "mailproxy-keys:x:4711:courier")
	p = start(t, "courier", settings...)
	harness.Dialogue(t, listening(t, p), `S~ \* OK .*`)
}

// groups adds lines to the group file, for this test's own world.
func groups(t *testing.T, lines string) {
	t.Helper()
	file := filepath.Join(harness.Dir(t), "group")
	harness.WriteFile(t, file, harness.ReadFile(t, "/etc/group")+lines+"\n", 0o644)
	if err := unix.Mount(file, "/etc/group", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount("/etc/group", unix.MNT_DETACH) })
}

// pid is the process's number, in text.
func pid(p *harness.Process) string { return strconv.Itoa(p.Cmd.Process.Pid) }

// listening waits until the program listens, and returns where.
func listening(t *testing.T, p *harness.Process) string {
	t.Helper()
	at := startAddr + ":143"
	p.WaitListen(t, at)
	return at
}

// The process is the user, in the user's groups, on every thread; no program that it starts gains rights, and
// nobody reads its memory. Only the listening socket was opened by root.
func TestRunsAsOrdinaryUser(t *testing.T) {
	harness.Site{}.Start(t)
	groups(t, "mailproxy-keys:x:4711:courier\nwheel:x:0:courier")
	p := start(t, "courier")
	harness.Dialogue(t, listening(t, p), `S~ \* OK .*`) // it is not root any more
	courier, err := user.Lookup("courier")
	if err != nil {
		t.Fatal(err)
	}
	uid, gid := courier.Uid, courier.Gid
	groups := []string{"4711", gid}
	slices.Sort(groups)
	tasks, err := filepath.Glob("/proc/" + pid(p) + "/task/*/status")
	if err != nil || len(tasks) < 2 {
		t.Fatalf("%d threads, %v", len(tasks), err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // the thread has ended
		}
		if err != nil {
			t.Fatal(err)
		}
		fields := map[string][]string{}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(line, ":")
			fields[name] = strings.Fields(value)
		}
		slices.Sort(fields["Groups"])
		for name, want := range map[string][]string{
			"Uid": {uid, uid, uid, uid}, "Gid": {gid, gid, gid, gid}, "Groups": groups, "NoNewPrivs": {"1"},
			"CapEff": {"0000000000000000"}, "CapPrm": {"0000000000000000"},
		} {
			if !slices.Equal(fields[name], want) {
				t.Errorf("%s: %s is %q, want %q", task, name, fields[name], want)
			}
		}
	}
	// The directory of a process that is not dumpable is root's.
	owner := strings.TrimSpace(harness.Run(t, "", "stat", "-c", "%U", "/proc/"+pid(p)+"/fd"))
	if owner != "root" {
		t.Errorf("the process is dumpable: /proc/PID/fd is %s's", owner)
	}
}

// A user that stands in a file of settings is named too late, which is said.
func TestUserOfSettings(t *testing.T) {
	file := filepath.Join(harness.Dir(t), "imapd")
	harness.WriteFile(t, file, "PROXY_USER=nobody\nRELAY_SOCKET=\nAUTHDAEMON_SOCKET=/nonexistent\n", 0o644)
	p := harness.Start(t, exec.Command(harness.PlainBin(t, "imapd-proxy"), "-config", file, "-listen",
		startAddr+":143"))
	harness.Dialogue(t, listening(t, p), `S~ \* OK .*`)
	p.Log.Wait(t, `WARN: PROXY_USER=nobody of a -config file has come too late`)
	if uid := strings.TrimSpace(harness.Run(t, "", "ps", "-o", "uid=", "-p", pid(p))); uid == "0" {
		t.Error("it runs as root")
	}
}

// Root's rights are never kept.
func TestNeverRoot(t *testing.T) {
	const from = "CRIT: -user, or PROXY_USER of the environment: system user "
	for user, want := range map[string]string{
		"root":         from + `"root" has uid 0 and gid 0, which no session may have`,
		"no-such-user": from + `"no-such-user": user: unknown user no-such-user \(names .*`,
	} {
		p := start(t, user)
		if status := p.Wait(t); status != 1 || len(p.Log.Find("^"+want+"$")) != 1 {
			t.Errorf("%s: status %d, log %q", user, status, p.Log.Lines())
		}
	}
}
