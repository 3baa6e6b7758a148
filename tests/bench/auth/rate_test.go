// Package auth measures authdaemond against Courier's with each database: answers a second and the daemon's
// CPU time for each.
//
//	go test -run '^$' -bench . -benchtime 1x ./tests/bench/auth
//
// Load, daemon and database share the machine; the daemons, which have the timer slack that their units set,
// are measured in turn, in one run, each several times for a second. Shown are medians, and medians of the
// ratios within each turn. Not measured: network latency to a database, slow hashes (the same library's work
// for both).
package auth

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
)

// rateAccounts is the number of accounts, all with the {SHA} password "secret", which are asked for in turn.
const rateAccounts = 1000

var (
	turns   = flag.Int("turns", 5, "how often each daemon is measured")
	only    = flag.Int("clients", 0, "measure with so many clients only")
	another = flag.String("another", "", "`file` of another build of authdaemond to measure as well")
)

func rateUser(i int) string { return fmt.Sprintf("user%d@example.com", i%rateAccounts) }

// once asks one question with as few system calls as there can be, so that the load generator takes little of
// the machine.
func once(request, buf []byte) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: harness.CourierAuthSocket}); err != nil {
		return 0, err
	}
	if _, err := unix.Write(fd, request); err != nil {
		return 0, err
	}
	total := 0
	for {
		n, err := unix.Read(fd, buf[total:])
		if err != nil {
			return total, err
		}
		total += n
		if n == 0 || total >= 3 && string(buf[total-3:total]) == "\n.\n" {
			return total, nil
		}
	}
}

// rate asks for d with n clients and returns answers a second. Every answer is checked.
func rate(t testing.TB, n int, d time.Duration) float64 {
	t.Helper()
	var done, wrong atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for c := range n {
		wg.Go(func() {
			buf := make([]byte, 4096)
			for i := c * 31; time.Since(start) < d; i++ {
				body := "imap\nlogin\n" + rateUser(i) + "\nsecret\n"
				got, err := once([]byte("AUTH "+strconv.Itoa(len(body))+"\n"+body), buf)
				if err != nil || !strings.Contains(string(buf[:got]), "\nADDRESS="+rateUser(i)+"\n") {
					wrong.Add(1)
					continue
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	if wrong.Load() > 0 {
		t.Errorf("%d of %d answers wrong or missing", wrong.Load(), done.Load()+wrong.Load())
	}
	return float64(done.Load()) / took.Seconds()
}

// cpu is the time that all processes of a name have had, in seconds.
func cpu(t testing.TB, name string) float64 {
	t.Helper()
	var total float64
	for _, p := range harness.Procs(t, name) {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.PID))
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			if err != nil {
				continue
			}
			ns, _, _ := strings.Cut(string(text), " ")
			n, err := strconv.ParseFloat(ns, 64)
			if err != nil {
				t.Fatal(err)
			}
			total += n / 1e9
		}
	}
	return total
}

// sample is one measurement.
type sample struct {
	rate float64 // answers a second
	cpu  float64 // ms of the daemon's CPU each
	both float64 // ms of the daemon's and the database's CPU each
}

func take(t testing.TB, clients int, d time.Duration) sample {
	database := func() (seconds float64) {
		for _, name := range []string{"mariadbd", "postgres", "slapd"} {
			seconds += cpu(t, name)
		}
		return seconds
	}
	daemonBefore, databaseBefore := cpu(t, "authdaemond"), database()
	r := rate(t, clients, d)
	each := func(seconds float64) float64 { return seconds / (r * d.Seconds()) * 1000 }
	daemon := cpu(t, "authdaemond") - daemonBefore
	return sample{r, each(daemon), each(daemon + database() - databaseBefore)}
}

// median of each figure.
func median(s []sample) sample {
	by := func(f func(sample) float64) float64 {
		v := make([]float64, len(s))
		for i := range s {
			v[i] = f(s[i])
		}
		sort.Float64s(v)
		return v[len(v)/2]
	}
	return sample{
		by(func(s sample) float64 { return s.rate }),
		by(func(s sample) float64 { return s.cpu }),
		by(func(s sample) float64 { return s.both }),
	}
}

// ratios is the median over the turns of s to base.
func ratios(s, base []sample) sample {
	r := make([]sample, len(s))
	for i := range s {
		r[i] = sample{s[i].rate / base[i].rate, s[i].cpu / base[i].cpu, s[i].both / base[i].both}
	}
	return median(r)
}

// start starts one of the daemons with a module.
func start(b *testing.B, name, module string) (p *harness.Process) {
	b.Helper()
	measure.WithTimerSlack(b, func() { p = startDaemon(b, name, module) })
	return p
}

func startDaemon(b *testing.B, name, module string) *harness.Process {
	b.Helper()
	switch name {
	case "Courier":
		return harness.CourierAuthdaemond(b, module, nil)
	case "cached":
		harness.Authdaemonrc(b, module, harness.Env{"AUTH_CACHE_TTL": "60"})
	default:
		harness.Authdaemonrc(b, module, nil)
	}
	os.Remove(harness.CourierAuthSocket)
	program := harness.PlainBin(b, "authdaemond")
	if name == "another" {
		program = *another
	}
	p := harness.Start(b, exec.Command(program))
	buf := make([]byte, 4096)
	body := "imap\nlogin\n" + rateUser(0) + "\nsecret\n"
	request := []byte("AUTH " + strconv.Itoa(len(body)) + "\n" + body)
	if !harness.Eventually(
		func() bool { n, err := once(request, buf); return err == nil && n > 0 || p.Ended() }) ||
		p.Ended() {
		b.Fatalf("authdaemond does not answer; its log:\n%s", p.Log)
	}
	return p
}

// BenchmarkRate compares Courier's daemon, ours, and ours with AUTH_CACHE_TTL, with 1 and 32 clients.
func BenchmarkRate(b *testing.B) {
	names := []string{"Courier", "ours", "cached"}
	if *another != "" {
		names = append(names, "another")
	}
	for _, database := range databases {
		b.Run(database.module, func(b *testing.B) {
			database.prepare(b)
			for _, clients := range []int{1, 32} {
				if *only != 0 && clients != *only {
					continue
				}
				got := make(map[string][]sample)
				for turn := range *turns {
					for i := range names {
						name := names[i]
						if turn%2 == 1 {
							name = names[len(names)-1-i]
						}
						p := start(b, name, database.module)
						rate(b, clients, 200*time.Millisecond)
						got[name] = append(got[name], take(b, clients, time.Second))
						p.Stop()
					}
				}
				for _, name := range names {
					m, r := median(got[name]), ratios(got[name], got["Courier"])
					b.Logf("%-10s %2d clients, %-8s %6.0f /s (%.2f of Courier's), %.4f ms CPU each (%.2f), "+
						"with the database's %.4f (%.2f)", database.module, clients, name+":",
						m.rate, r.rate, m.cpu, r.cpu, m.both, r.both)
				}
			}
		})
	}
}

// BenchmarkSilent is ours with 32 clients while 1,000 others are connected and silent, against the same
// without them. (Courier's daemon stops at 40.)
func BenchmarkSilent(b *testing.B) {
	userdb(b)
	start(b, "ours", "authuserdb")
	got := make(map[bool][]sample)
	for range 5 {
		for _, silent := range []bool{false, true} {
			var fds []int
			if silent {
				for range 1000 {
					fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
					if err != nil {
						b.Fatal(err)
					}
					fds = append(fds, fd)
					if err := unix.Connect(fd, &unix.SockaddrUnix{Name: harness.CourierAuthSocket}); err != nil {
						b.Fatal(err)
					}
				}
			}
			got[silent] = append(got[silent], take(b, 32, time.Second))
			for _, fd := range fds {
				unix.Close(fd)
			}
		}
	}
	for _, silent := range []bool{false, true} {
		m := median(got[silent])
		b.Logf("1,000 silent clients: %-5v %6.0f /s, %.4f ms CPU each", silent, m.rate, m.cpu)
	}
}
