package authd

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/tests/harness"
)

// The load: accounts with {SHA} passwords, asked for in turn by clients that wait for each answer.

const rateAccounts = 1000

// rateUserdb makes the accounts.
func rateUserdb(t testing.TB) {
	accounts := make([]harness.Account, rateAccounts)
	for i := range accounts {
		accounts[i] = harness.Account{Name: rateUser(i), Password: "secret", Options: "mailhost=127.0.0.2"}
	}
	harness.Userdb(t, accounts...)
}

func rateUser(i int) string { return fmt.Sprintf("user%d@example.org", i%rateAccounts) }

// once asks one question with as few system calls as there can be, so that the load generator takes little of the machine.
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
	for _, p := range harness.Procs(t) {
		if p.Comm != name {
			continue
		}
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
type sample struct{ rate, cpu float64 } // answers a second, ms of the daemon's CPU each

func take(t testing.TB, clients int, d time.Duration) sample {
	before := cpu(t, "authdaemond")
	r := rate(t, clients, d)
	return sample{r, (cpu(t, "authdaemond") - before) / (r * d.Seconds()) * 1000}
}

// median of the rates and of the CPU times.
func median(s []sample) sample {
	by := func(f func(sample) float64) float64 {
		v := make([]float64, len(s))
		for i := range s {
			v[i] = f(s[i])
		}
		sort.Float64s(v)
		return v[len(v)/2]
	}
	return sample{by(func(s sample) float64 { return s.rate }), by(func(s sample) float64 { return s.cpu })}
}

// BenchmarkRate compares the two daemons, in turn, with 1 and 32 clients. Repeat it with
//
//	go test -run '^$' -bench Rate -benchtime 1x ./tests/authd
func BenchmarkRate(b *testing.B) {
	rateUserdb(b)
	daemons := map[string]func() *harness.Process{
		"Courier": func() *harness.Process { return harness.CourierAuthdaemond(b, "authuserdb", nil) },
		"ours": func() *harness.Process {
			harness.Authdaemonrc(b, "authuserdb", nil)
			return daemon(b, harness.PlainBin(b, "authdaemond"))
		},
		"cached": func() *harness.Process {
			harness.Authdaemonrc(b, "authuserdb", harness.Env{"AUTH_CACHE_TTL": "60"})
			return daemon(b, harness.PlainBin(b, "authdaemond"))
		},
	}
	rounds, d := 3, time.Second
	for _, clients := range []int{1, 32} {
		got := make(map[string][]sample)
		for range rounds {
			for name, start := range daemons {
				p := start()
				rate(b, clients, d/5)
				got[name] = append(got[name], take(b, clients, d))
				p.Stop()
			}
		}
		theirs := median(got["Courier"])
		for _, name := range []string{"Courier", "ours", "cached"} {
			m := median(got[name])
			b.Logf("%2d clients, %-8s %6.0f /s (%.2f of Courier's), %.4f ms CPU each (%.2f)", clients, name+":", m.rate, m.rate/theirs.rate,
				m.cpu, m.cpu/theirs.cpu)
		}
	}
}
