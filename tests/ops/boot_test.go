package ops

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mailproxy/tests/harness"
)

// masked are units that would work on the kernel, which is not the booted machine's own, or that wait for
// devices it has not.
var masked = []string{
	"systemd-journald-audit.socket", "systemd-modules-load.service", "systemd-remount-fs.service",
	"systemd-sysctl.service", "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount",
	"sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
	"sys-fs-fuse-connections.mount", "dev-hugepages.mount", "dev-mqueue.mount", "kmod-static-nodes.service",
	"modprobe@.service", "systemd-random-seed.service", "systemd-firstboot.service", "systemd-repart.service",
	"systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-update-utmp.service",
	"systemd-machine-id-commit.service", "systemd-timesyncd.service", "systemd-pstore.service", "timers.target",
	"dbus.socket", "dbus.service",
}

// boots takes the machine's root ($1) as its own in fresh namespaces, and becomes systemd. Process 1 and the
// control group are its own, so that nothing but the machine's own processes is seen, stopped or counted.
const boots = `
set -e
mount --make-rprivate /
cd "$1"
umount -R dev proc
mount -t proc -o nosuid,nodev,noexec proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid tmpfs dev
for name in null zero full random urandom tty; do
	: >dev/$name
	mount --bind /dev/$name dev/$name
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
hostname island
pivot_root . mnt
umount -l /mnt
cd /
exec env -i container=mailproxy-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	/lib/systemd/systemd --system --unit=basic.target </dev/null
`

// The two ends of the cable: the test's, where mailhosts and clients are, and the machine's.
const (
	outside = "192.0.2.1"
	inside  = "192.0.2.2"
)

// boot starts systemd as process 1 of a new machine: processes, mounts, host name, control group and network
// of its own.
func boot(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	for _, unit := range masked {
		if err := os.Remove(m.path("/etc/systemd/system/" + unit)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := os.Symlink("/dev/null", m.path("/etc/systemd/system/"+unit)); err != nil {
			t.Fatal(err)
		}
	}
	// What this machine starts at its boot is not what is tested.
	for _, wants := range []string{"sockets.target.wants", "sysinit.target.wants", "timers.target.wants"} {
		if err := os.RemoveAll(m.path("/etc/systemd/system/" + wants)); err != nil {
			t.Fatal(err)
		}
	}
	// Where this machine's packages must start nothing, packages of that one may.
	if err := os.Remove(m.path("/usr/sbin/policy-rc.d")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	write(t, m.path("/etc/machine-id"), strings.Repeat("0123456789abcdef", 2)+"\n", 0o444)
	write(t, m.path("/etc/systemd/journald.conf.d/test.conf"), "[Journal]\nStorage=volatile\nRateLimitBurst=0\n",
		0o644)

	group := cgroup(t)
	p := harness.Start(t, &exec.Cmd{
		Path: "/bin/sh",
		Args: []string{
			"sh", "-c", `echo 0 >"$2/cgroup.procs" && exec unshare --cgroup /bin/sh -c "$3" sh "$1"`, "sh", m.root,
			group, boots,
		},
		Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS |
				unix.CLONE_NEWNET,
		},
	})
	// systemd takes SIGTERM for an order to start anew.
	t.Cleanup(func() { p.Cmd.Process.Kill() })
	m.enter = []string{
		"nsenter", "-t", strconv.Itoa(p.Cmd.Process.Pid), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--",
	}
	// A cable between the machine and the test.
	harness.Run(t, "", "ip", "link", "add", "machine", "type", "veth", "peer", "name", "eth0", "netns",
		strconv.Itoa(p.Cmd.Process.Pid))
	t.Cleanup(func() { harness.Run(t, "", "ip", "link", "del", "machine") })
	harness.Run(t, "", "ip", "addr", "add", outside+"/24", "dev", "machine")
	harness.Run(t, "", "ip", "link", "set", "machine", "up")
	state := ""
	if !harness.Eventually(func() bool {
		out, _ := m.command("systemctl", "is-system-running").CombinedOutput()
		state = strings.TrimSpace(string(out))
		return state == "running" || state == "degraded" || p.Ended()
	}) || state != "running" {
		list, _ := m.command("systemctl", "--no-pager", "list-jobs").CombinedOutput()
		failed, _ := m.command("systemctl", "--no-pager", "--failed").CombinedOutput()
		t.Fatalf("systemd does not come up: %s\n%s%s%s", state, p.Log, list, failed)
	}
	m.run(t, "ip", "addr", "add", inside+"/24", "dev", "eth0")
	m.run(t, "ip", "link", "set", "eth0", "up")
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := m.command("journalctl", "--no-pager", "-b", "-o", "short-precise").CombinedOutput()
			t.Logf("--- journal:\n%s", out)
		}
	})
	return m
}

// cgroup makes a control group (version 2, no controllers needed), which goes with the test, and returns its
// directory.
func cgroup(t *testing.T) string {
	t.Helper()
	top := harness.Dir(t)
	if err := unix.Mount("cgroup2", top, "cgroup2", 0, ""); err != nil {
		t.Fatalf("mount cgroup2: %v", err)
	}
	group, err := os.MkdirTemp(top, "mailproxy-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Folders can go when their processes have: the lowest first.
		if !harness.Eventually(func() bool {
			_ = os.WriteFile(filepath.Join(group, "cgroup.kill"), []byte("1"), 0)
			_ = exec.Command("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").Run()
			_, err := os.Stat(group)
			return os.IsNotExist(err)
		}) {
			t.Errorf("control group %s stays", group)
		}
		if err := unix.Unmount(top, 0); err != nil {
			t.Error(err)
		}
	})
	return group
}

// property is a property of a unit, as systemctl shows it.
func (m *machine) property(t *testing.T, unit, name string) string {
	t.Helper()
	return strings.TrimSpace(m.run(t, "systemctl", "show", "--value", "-p", name, unit))
}

// mainPID is the process of a service that systemd takes for the main one, by its number on the machine.
func (m *machine) mainPID(t *testing.T, unit string) string {
	t.Helper()
	pid := m.property(t, unit, "MainPID")
	if pid == "0" {
		t.Fatalf("%s does not run", unit)
	}
	return pid
}

// status is a line of /proc/PID/status.
func (m *machine) status(t *testing.T, pid, name string) string {
	t.Helper()
	for _, line := range strings.Split(m.run(t, "cat", "/proc/"+pid+"/status"), "\n") {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	t.Fatalf("/proc/%s/status has no %s", pid, name)
	return ""
}

// An entry of the journal.
type entry struct {
	Priority   string `json:"PRIORITY"`
	Facility   string `json:"SYSLOG_FACILITY"`
	Identifier string `json:"SYSLOG_IDENTIFIER"`
	Unit       string `json:"_SYSTEMD_UNIT"`
	PID        string `json:"_PID"`
	Message    string `json:"MESSAGE"`
}

// journal returns the entries that journalctl selects, the oldest first.
func (m *machine) journal(t *testing.T, selection ...string) []entry {
	t.Helper()
	var entries []entry
	for _, line := range strings.Split(strings.TrimSpace(m.run(t,
		append([]string{"journalctl", "--no-pager", "-q", "-o", "json"}, selection...)...)), "\n") {
		if line == "" {
			continue
		}
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		entries = append(entries, e)
	}
	return entries
}

// wait waits for an entry that the condition fits.
func (m *machine) waitJournal(t *testing.T, what string, fits func(entry) bool, selection ...string) entry {
	t.Helper()
	var found entry
	if !harness.Eventually(func() bool {
		for _, e := range m.journal(t, selection...) {
			if fits(e) {
				found = e
				return true
			}
		}
		return false
	}) {
		t.Fatalf("the journal has no %s", what)
	}
	return found
}

// running waits until no unit of a name that fits the pattern is active, but those of the number n.
func (m *machine) running(t *testing.T, pattern string, n int) {
	t.Helper()
	var out string
	if !harness.Eventually(func() bool {
		out = strings.TrimSpace(
			m.run(t, "systemctl", "list-units", "--no-legend", "--plain", "--no-pager", "--state=active", pattern))
		return out == "" && n == 0 || out != "" && strings.Count(out, "\n")+1 == n
	}) {
		t.Fatalf("%s: %d units expected:\n%s", pattern, n, out)
	}
}
