// Package idle measures what a proxy pays for sessions that are logged in and silent, and what its relay
// costs beside them: ours with relayd, ours with a process for each session, and the proxies that are
// installed beside it.
//
//	go test -run '^$' -bench Idle -benchtime 1x ./tests/bench/idle
//	IDLE_N=200,1000 IDLE_ONLY=relayd,courier go test ...
package idle

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/bench/mailhost"
	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
)

func TestMain(m *testing.M) {
	if mailhost.Started() {
		os.Exit(mailhost.Run())
	}
	os.Exit(harness.Main(m))
}

// mailhostAddr is where the accounts are.
const mailhostAddr = "127.0.0.2"

// settle is how long sessions are left alone before they are measured: longer than anything that tidies up
// waits.
const settle = 6 * time.Second

// memory is what a number of sessions cost, each.
type memory struct {
	n               int
	private, cgroup float64 // bytes for one more session
	// private bytes with everything that was there before the first session, divided by n
	total            float64
	processes        int
	secondsPerLogin  float64
	privateTotal     int64
	cgroupTotalBytes int64
}

// memoryOf logs n sessions in through a set-up, one measurement at each number in ns.
func memoryOf(b *testing.B, s setup, encrypted bool, ns []int) (all []memory) {
	b.Helper()
	mailhost.RaiseLimit()
	harness.Userdb(b, harness.Account{Name: "ann", Password: "secret", Options: "mailhost=127.0.0.2"})
	harness.CourierAuthdaemond(b, "authuserdb", nil)
	mailhost.Start(b, mailhostAddr)
	g := measure.NewGroup(b)
	addr := s.start(b, g, encrypted)
	var warm crowd
	warm.grow(b, 8, addr, encrypted)
	warm.alive(b)
	warm.close()
	time.Sleep(
		settle) // until what gives memory back when idle has done so: the pause belongs to the measurement
	private0, _ := g.Private(b)
	cgroup0, cpu0 := g.Usage(b), g.Seconds(b)
	var c crowd
	defer func() { c.close() }()
	for _, n := range ns {
		c.grow(b, n, addr, encrypted)
		cpu := g.Seconds(b) - cpu0
		c.alive(b)
		time.Sleep(
			settle) // until what gives memory back when idle has done so: the pause belongs to the measurement
		private, processes := g.Private(b)
		cgroup := g.Usage(b)
		all = append(
			all,
			memory{n: n, private: float64(private-private0) / float64(n), cgroup: float64(cgroup-cgroup0) / float64(n),
				total: float64(private) / float64(n), processes: processes, secondsPerLogin: cpu / float64(n),
				privateTotal: private, cgroupTotalBytes: cgroup},
		)
		c.alive(b)
	}
	return all
}

func BenchmarkIdle(b *testing.B) {
	for _, s := range chosen() {
		for _, encrypted := range []bool{false, true} {
			for _, n := range numbers(1000) {
				b.Run(fmt.Sprintf("%s/%s/N=%d", s.name, kind(encrypted), n), func(b *testing.B) {
					for b.Loop() {
						m := memoryOf(b, s, encrypted, []int{n})[0]
						b.ReportMetric(m.private/1024, "KiB-private/session")
						b.ReportMetric(m.total/1024, "KiB-private-in-all/session")
						b.ReportMetric(m.cgroup/1024, "KiB-cgroup/session")
						b.ReportMetric(float64(m.processes), "processes")
						b.ReportMetric(m.secondsPerLogin*1000, "ms-CPU/login")
						b.ReportMetric(0, "ns/op")
					}
				})
			}
		}
	}
}

func kind(encrypted bool) string {
	if encrypted {
		return "tls"
	}
	return "plain"
}

// chosen are the set-ups named in IDLE_ONLY, all without it.
func chosen() []setup {
	only := os.Getenv("IDLE_ONLY")
	if only == "" {
		return setups
	}
	return slices.DeleteFunc(slices.Clone(setups),
		func(s setup) bool { return !slices.Contains(strings.Split(only, ","), s.name) })
}

// numbers are those in IDLE_N.
func numbers(def ...int) []int {
	text := os.Getenv("IDLE_N")
	if text == "" {
		return def
	}
	var ns []int
	for _, f := range strings.Split(text, ",") {
		if n, err := strconv.Atoi(f); err == nil && n > 0 {
			ns = append(ns, n)
		}
	}
	return ns
}
