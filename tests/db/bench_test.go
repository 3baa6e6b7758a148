package db

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/ldap"
	"mailproxy/authlib/mysql"
	"mailproxy/authlib/pgsql"
	"mailproxy/tests/harness"
)

// BenchmarkModules compares our modules, without and with the daemon around them, with Courier's whole
// daemon. It is for profiles; the figures in docs/performance.md are tests/bench's, which measures both
// daemons.
func BenchmarkModules(b *testing.B) {
	all := accounts(b)
	run := func(name string, etc string, s settings, m authlib.Module) {
		req := &authlib.AuthRequest{
			Service: "imap", Type: authlib.AuthLogin, User: "bench@example.com", Password: "both secret",
		}
		if a, err := m.Authenticate(context.Background(), req); err != nil || a.Address != req.User {
			b.Fatal(a, err)
		}
		b.Run(name+"/ours", func(b *testing.B) {
			load(b, func() []int { return []int{os.Getpid()} }, func() error {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				_, err := m.Authenticate(ctx, req)
				return err
			})
		})
		m.Close()
		directory := harness.Dir(b)
		s.write(b, filepath.Join(directory, etc))
		ours := runDaemon(b, harness.PlainBin(b, "authdaemond"), directory, name, nil)
		oc := &authlib.Client{Socket: filepath.Join(directory, "socket")}
		b.Run(name+"/daemon", func(b *testing.B) {
			load(b, func() []int { return []int{ours.Cmd.Process.Pid} },
				func() error { _, err := oc.Authenticate(context.Background(), req); return err })
		})
		ours.Stop()
		if os.Getenv("COURIER") == "" {
			return
		}
		s.write(b, "/etc/courier/"+etc)
		d := harness.CourierAuthdaemond(b, name, nil)
		c := &authlib.Client{Socket: harness.CourierAuthSocket}
		b.Run(name+"/courier", func(b *testing.B) {
			load(b, func() (pids []int) {
				for _, p := range harness.Procs(b, "authdaemond") {
					pids = append(pids, p.PID)
				}
				return pids
			}, func() error { _, err := c.Authenticate(context.Background(), req); return err })
		})
		d.Stop()
	}
	pg := harness.Postgres(b, "127.0.2.1")
	pg.SQL(b, sqlTable(all, false))
	s := pgsqlSettings(pg)
	run("authpgsql", "authpgsqlrc", s, pgsql.New(s.file(b), conns(), b.Logf))
	pg.Stop()
	my := harness.MariaDB(b, "127.0.2.2")
	my.SQL(b, sqlTable(all, true))
	s = mysqlSettings(my)
	run("authmysql", "authmysqlrc", s, mysql.New(s.file(b), conns(), b.Logf))
	my.Stop()
	dir := directory(b, "127.0.2.3", all, harness.LDAPOptions{})
	s = ldapSettings(dir)
	run("authldap", "authldaprc", s, ldap.New(s.file(b), conns(), func(string) string { return "" }, b.Logf))
}

func conns() int {
	if n, err := strconv.Atoi(os.Getenv("CONNS")); err == nil {
		return n
	}
	return 5
}

// load runs ask b.N times in 32 goroutines and reports the rate and the processes' CPU time for each.
func load(b *testing.B, pids func() []int, ask func() error) {
	before, start := cpu(b, pids()), time.Now()
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	for range 32 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := ask(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "auth/s")
	b.ReportMetric(float64((cpu(b, pids())-before).Nanoseconds())/float64(b.N)/1e6, "cpu-ms/auth")
}

// cpu returns the CPU time that processes have used, user and system.
func cpu(b *testing.B, pids []int) time.Duration {
	var sum time.Duration
	for _, pid := range pids {
		if pid == os.Getpid() {
			var r syscall.Rusage
			if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
			continue
		}
		text := harness.ReadFile(b, "/proc/"+strconv.Itoa(pid)+"/stat")
		fields := strings.Fields(string(text[strings.LastIndexByte(text, ')')+1:]))
		for _, f := range fields[11:13] {
			ticks, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum
}
