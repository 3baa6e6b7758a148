package measure

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// Group is a cgroup of the proxy side of one set-up: launcher, login programs, relay service. The kernel's
// share of their memory (sockets, epoll entries, page tables) is charged to it as well.
type Group struct {
	memory, cpu string // directories; the same one with cgroup v2
	v2          bool
}

const cgroups = "/sys/fs/cgroup"

// NewGroup makes one, which is removed at the end of the test.
func NewGroup(t testing.TB) *Group {
	t.Helper()
	name := fmt.Sprintf("mailproxy-bench-%d-%d", os.Getpid(), time.Now().UnixNano())
	g := &Group{memory: filepath.Join(cgroups, "memory", name), cpu: filepath.Join(cgroups, "cpuacct", name)}
	if _, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers")); err == nil {
		g.v2 = true
		g.memory = filepath.Join(cgroups, name)
		g.cpu = g.memory
		_ = os.WriteFile(filepath.Join(cgroups, "cgroup.subtree_control"), []byte("+memory +cpu"), 0)
	}
	for _, dir := range []string{g.memory, g.cpu} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		harness.Eventually(func() bool { return os.Remove(g.memory) == nil })
		_ = os.Remove(g.cpu)
	})
	return g
}

// Add moves a process, and what it starts from now on, into the group.
func (g *Group) Add(t testing.TB, pid int) {
	t.Helper()
	for _, dir := range []string{g.memory, g.cpu} {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// Command is a shell command that joins the group, and has all file descriptors that there may be, before it
// becomes the program: all its memory counts.
func (g *Group) Command(args ...string) *exec.Cmd {
	script := `for g in "$0" "$1"; do echo $$ >$g/cgroup.procs; done; shift; ulimit -n $(ulimit -Hn); exec "$@"`
	return exec.Command("/bin/sh", append([]string{"-c", script, g.memory, g.cpu}, args...)...)
}

// Usage is all the memory charged to the group, in bytes, without the page cache of files.
func (g *Group) Usage(t testing.TB) int64 {
	name, file := "memory.usage_in_bytes", "total_cache "
	if g.v2 {
		name, file = "memory.current", "file "
	}
	n := readNumber(t, filepath.Join(g.memory, name))
	stat, err := os.ReadFile(filepath.Join(g.memory, "memory.stat"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(stat), "\n") {
		if v, ok := strings.CutPrefix(line, file); ok {
			cache, _ := strconv.ParseInt(v, 10, 64)
			n -= cache
		}
	}
	return n
}

// Seconds is the CPU time that the group has used, also by processes that have ended.
func (g *Group) Seconds(t testing.TB) float64 {
	if !g.v2 {
		return float64(readNumber(t, filepath.Join(g.cpu, "cpuacct.usage"))) / 1e9
	}
	stat, err := os.ReadFile(filepath.Join(g.cpu, "cpu.stat"))
	if err != nil {
		t.Fatal(err)
	}
	usec, _ := strconv.ParseInt(strings.TrimPrefix(strings.SplitN(string(stat), "\n", 2)[0], "usage_usec "), 10,
		64)
	return float64(usec) / 1e6
}

// Private is the sum of the processes' private memory (smaps_rollup), in bytes.
func (g *Group) Private(t testing.TB) (total int64, processes int) {
	procs, err := os.ReadFile(filepath.Join(g.memory, "cgroup.procs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range strings.Fields(string(procs)) {
		rollup, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
		if err != nil {
			continue // it has just ended
		}
		processes++
		for _, line := range strings.Split(string(rollup), "\n") {
			f := strings.Fields(line)
			if len(f) == 3 && (f[0] == "Private_Clean:" || f[0] == "Private_Dirty:") {
				kib, _ := strconv.ParseInt(f[1], 10, 64)
				total += kib << 10
			}
		}
	}
	return total, processes
}

func readNumber(t testing.TB, path string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
