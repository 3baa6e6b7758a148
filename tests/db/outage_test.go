package db

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// database is one of the three with what the tests below need to know.
type database struct {
	module string
	server *harness.Database
	base   settings
	harness.Env
}

// databases starts all three with the accounts, on addresses of net ("127.0.3").
func databases(t testing.TB, net string) []database {
	all := accounts(t)
	pg, my := harness.Postgres(t, net+".1"), harness.MariaDB(t, net+".2")
	pg.SQL(t, sqlTable(all, false))
	my.SQL(t, sqlTable(all, true))
	dir := directory(t, net+".3", all, harness.LDAPOptions{})
	return []database{
		{
			"authpgsql", pg, pgsqlSettings(pg), nil,
		}, {"authmysql", my, mysqlSettings(my), nil}, {"authldap", dir, ldapSettings(dir), nil},
	}
}

// start starts our daemon for the database.
func (d *database) start(t testing.TB, s settings) (*authlib.Client, *harness.Process, string) {
	t.Helper()
	directory := harness.Dir(t)
	s.write(t, filepath.Join(directory, d.module+"rc"))
	p := ourDaemon(t, directory, d.module, d.Env)
	return &authlib.Client{Socket: filepath.Join(directory, "socket")}, p, directory
}

var login = question{"login", "imap", "bench@example.com", "both secret"}

// outcomes counts what concurrent clients met.
type outcomes struct {
	ok, refused, failed atomic.Int64
	slowest             atomic.Int64 // of the failed ones, in ns
}

// loadDaemon keeps n clients asking until stop is called.
func loadDaemon(c *authlib.Client, n int) (o *outcomes, stop func()) {
	o = &outcomes{}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				start := time.Now()
				_, err := answer(context.Background(), c, login)
				switch {
				case err == nil:
					o.ok.Add(1)
				case errors.Is(err, authlib.ErrRefused):
					o.refused.Add(1)
				default:
					o.failed.Add(1)
					o.slowest.Store(max(o.slowest.Load(), int64(time.Since(start))))
				}
				time.Sleep(5 * time.Millisecond) // the load is to be there, not to take the processors
			}
		})
	}
	return o, func() { close(done); wg.Wait() }
}

// TestOutage kills each database under load and starts it again.
func TestOutage(t *testing.T) {
	t.Parallel()
	for _, d := range databases(t, "127.0.3") {
		t.Run(d.module, func(t *testing.T) {
			c, p, _ := d.start(t, d.base)
			if got := ask(c, login); !strings.Contains(got, "address=") {
				t.Fatal(got)
			}
			o, stop := loadDaemon(c, 16)
			if !harness.Eventually(func() bool { return o.ok.Load() >= 100 }) {
				t.Fatalf("%d logins", o.ok.Load())
			}
			fds := descriptors(t, p)
			for round := range 3 {
				failed := o.failed.Load()
				d.server.Kill(t)
				if !harness.Eventually(func() bool { return o.failed.Load() > failed+200 }) {
					t.Errorf("round %d: no temporary failures while the server was down", round)
				}
				start := time.Now()
				if got := ask(c, login); got != "temporary failure" || time.Since(start) > harness.Patience {
					t.Errorf("while the server is down: %s after %v", got, time.Since(start))
				}
				d.server.Restart(t)
				if got := ask(c, login); !strings.Contains(got, "address=") {
					t.Errorf("first login after the restart: %s", got)
				}
				ok := o.ok.Load()
				if !harness.Eventually(func() bool { return o.ok.Load() > ok }) {
					t.Error("the load did not go on")
				}
			}
			stop()
			t.Logf("%d logins, %d temporary failures, slowest %v", o.ok.Load(), o.failed.Load(),
				time.Duration(o.slowest.Load()))
			if o.refused.Load() != 0 {
				t.Errorf("%d clients were told that their password is wrong", o.refused.Load())
			}
			if slow := time.Duration(o.slowest.Load()); slow > harness.Patience {
				t.Errorf("a client waited %v for its temporary failure", slow)
			}
			// Without load: the server restarted between two logins.
			d.server.Kill(t)
			d.server.Restart(t)
			for range 3 {
				if got := ask(c, login); !strings.Contains(got, "address=") {
					t.Errorf("a login after a restart: %s", got)
				}
			}
			// 16 clients at once use more connections than one at a time. Those to the database, 5 at most, may not
			// all have been there at that moment.
			if !harness.Eventually(func() bool { return descriptors(t, p) <= fds+5 }) {
				t.Errorf("%d descriptors before, %d after", fds, descriptors(t, p))
			}
			lines := p.Log.Find(`cannot answer`)
			// A server that dies or comes up under load may answer some and not others for a moment.
			if len(lines) < 3 || len(lines) > 60 || int64(len(lines)) > o.failed.Load()/10 {
				t.Errorf("%d log lines for three outages with %d failed requests: %q", len(lines), o.failed.Load(), lines)
			}
		})
	}
}

// descriptors counts a process's open files and connections.
func descriptors(t testing.TB, p *harness.Process) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestMute freezes each database: connections stand, nothing answers.
func TestMute(t *testing.T) {
	t.Parallel()
	list := databases(t, "127.0.4")
	var wg sync.WaitGroup
	for _, d := range list {
		if d.module == "authldap" {
			d.base["LDAP_TIMEOUT"] = "5"
		}
		c, _, _ := d.start(t, d.base)
		if got := ask(c, login); !strings.Contains(got, "address=") {
			t.Fatal(d.module, got)
		}
		d.server.Freeze(t)
		for _, q := range []question{login, {"cram-md5", "imap", "both@example.com", "other"},
			{"pre", "imap", "both@example.com", ""}} {
			wg.Go(func() {
				start := time.Now()
				if got := ask(c, q); got != "temporary failure" || time.Since(start) > harness.Patience {
					t.Errorf("%s: %s while the server is mute: %s after %v", d.module, q, got, time.Since(start))
				}
				t.Logf("%s: %s: %v", d.module, q.how, time.Since(start))
			})
		}
		t.Cleanup(func() { d.server.Thaw(t) })
		defer func() {
			d.server.Thaw(t)
			if got := ask(c, login); !strings.Contains(got, "address=") {
				t.Errorf("%s: first login after the thaw: %s", d.module, got)
			}
		}()
	}
	wg.Wait()
}

// TestSecondServer checks that a mute first server costs its time limit only, and that every connection is
// bound again.
func TestSecondServer(t *testing.T) {
	t.Parallel()
	all := accounts(t)
	dir := directory(
		t,
		"127.0.5.3",
		all,
		harness.LDAPOptions{Config: `access to attrs=userPassword,clearPassword by anonymous auth by * none
access to dn.subtree="ou=people,dc=example,dc=com" by dn.exact="cn=admin,dc=example,dc=com" read by * none
access to * by * read`},
	)
	mute, err := net.Listen("tcp", "127.0.5.4:389")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	d := database{"authldap", dir, ldapSettings(dir), nil}
	c, _, _ := d.start(
		t,
		d.base.with(
			settings{"LDAP_URI": "ldap://127.0.5.5, ldap://127.0.5.4 ldap://127.0.5.3", "LDAP_TIMEOUT": "8"}),
	)
	start := time.Now()
	if got := ask(c, login); !strings.Contains(got, "address=") || time.Since(start) > harness.Patience {
		t.Errorf("with a dead and a mute server before it: %s after %v", got, time.Since(start))
	}
	// Nobody but the administrator sees accounts here: a connection that was not bound again would find
	// nothing.
	for range 3 {
		dir.Kill(t)
		dir.Restart(t)
		if got := ask(c, login); !strings.Contains(got, "address=") {
			t.Errorf("after a restart: %s", got)
		}
	}
}

// TestNoLeaks uses the modules in this process and counts goroutines.
func TestNoLeaks(t *testing.T) {
	list := databases(t, "127.0.2")
	before := runtime.NumGoroutine()
	for _, d := range list {
		path := d.base.file(t)
		m := newModule(d.module, path, func(string) string { return "" }, t.Logf)
		use := func() {
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() { answer(context.Background(), m, login) })
			}
			wg.Wait()
		}
		use()
		d.server.Kill(t)
		use()
		d.server.Restart(t)
		use()
		for i := range 3 { // each change of the file makes new pools
			stamp := time.Now().Add(time.Duration(i-10) * time.Minute)
			if err := os.Chtimes(path, stamp, stamp); err != nil {
				t.Fatal(err)
			}
			settle()
			use()
		}
		if a, err := answer(context.Background(), m, login); err != nil || a.Address != login.user {
			t.Errorf("%s: %v, %v", d.module, a, err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if _, err := answer(context.Background(), m, login); err == nil || errors.Is(err, authlib.ErrRefused) {
			t.Errorf("%s: answers after Close: %v", d.module, err)
		}
	}
	if !harness.Eventually(func() bool { return runtime.NumGoroutine() <= before }) {
		buf := make([]byte, 1<<16)
		t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(),
			buf[:runtime.Stack(buf, true)])
	}
}
