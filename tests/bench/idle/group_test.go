package idle

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mailproxy/tests/harness"
	"time"
)

// group is a cgroup of the proxy side of one set-up: launcher, login programs, relay service. The kernel's
// share of their memory (sockets, epoll entries, page tables) is charged to it as well.
type group struct {
	memory, cpu string // folders; the same one with cgroup v2
	v2          bool
}

const cgroups = "/sys/fs/cgroup"

func newGroup(b *testing.B) *group {
	b.Helper()
	name := fmt.Sprintf("mailproxy-bench-%d-%d", os.Getpid(), time.Now().UnixNano())
	g := &group{memory: filepath.Join(cgroups, "memory", name), cpu: filepath.Join(cgroups, "cpuacct", name)}
	if _, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers")); err == nil {
		g.v2 = true
		g.memory = filepath.Join(cgroups, name)
		g.cpu = g.memory
		_ = os.WriteFile(filepath.Join(cgroups, "cgroup.subtree_control"), []byte("+memory +cpu"), 0)
	}
	for _, dir := range []string{g.memory, g.cpu} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
	}
	b.Cleanup(func() {
		harness.Eventually(func() bool { return os.Remove(g.memory) == nil })
		_ = os.Remove(g.cpu)
	})
	return g
}

// add moves a process, and what it starts from now on, into the group.
func (g *group) add(b *testing.B, pid int) {
	b.Helper()
	for _, dir := range []string{g.memory, g.cpu} {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			b.Fatal(err)
		}
	}
}

// usage is all the memory charged to the group, in bytes, without the page cache of files.
func (g *group) usage(b *testing.B) int64 {
	name, file := "memory.usage_in_bytes", "total_cache "
	if g.v2 {
		name, file = "memory.current", "file "
	}
	n := number(b, filepath.Join(g.memory, name))
	stat, err := os.ReadFile(filepath.Join(g.memory, "memory.stat"))
	if err != nil {
		b.Fatal(err)
	}
	for _, line := range strings.Split(string(stat), "\n") {
		if v, ok := strings.CutPrefix(line, file); ok {
			cache, _ := strconv.ParseInt(v, 10, 64)
			n -= cache
		}
	}
	return n
}

// seconds is the CPU time that the group has used, also by processes that have ended.
func (g *group) seconds(b *testing.B) float64 {
	if !g.v2 {
		return float64(number(b, filepath.Join(g.cpu, "cpuacct.usage"))) / 1e9
	}
	stat, err := os.ReadFile(filepath.Join(g.cpu, "cpu.stat"))
	if err != nil {
		b.Fatal(err)
	}
	usec, _ := strconv.ParseInt(strings.TrimPrefix(strings.SplitN(string(stat), "\n", 2)[0], "usage_usec "), 10,
		64)
	return float64(usec) / 1e6
}

// private is the sum of the processes' private memory (smaps_rollup), in bytes.
func (g *group) private(b *testing.B) (total int64, processes int) {
	procs, err := os.ReadFile(filepath.Join(g.memory, "cgroup.procs"))
	if err != nil {
		b.Fatal(err)
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

func number(b *testing.B, path string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
