package ops

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// crowd are clients that log in, stay a moment, log out and come back, as quickly as they can.
type crowd struct {
	visit func(i int) error // a session of client number i
	good  atomic.Int64      // logins
	// connections without an answer to the login: a real client connects again, as these do
	lost    atomic.Int64
	stop    chan struct{}
	wait    sync.WaitGroup
	mu      sync.Mutex
	refused []string // answers that a user would see
	causes  []string // why connections were lost
}

// newCrowd is a crowd of accounts' clients at an address.
func newCrowd(t *testing.T, addr string, n int) *crowd {
	return gather(t, n, func(i int) error {
		conn, err := dial(addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		user := fmt.Sprintf("user%d", i)
		return session(conn, user, user, 2*harness.Patience)
	})
}

// gather starts n clients.
func gather(t *testing.T, n int, visit func(i int) error) *crowd {
	c := &crowd{visit: visit, stop: make(chan struct{})}
	for i := range n {
		c.wait.Add(1)
		go func() {
			defer c.wait.Done()
			for {
				select {
				case <-c.stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
				c.login(i)
			}
		}()
	}
	t.Cleanup(c.end)
	return c
}

func (c *crowd) end() {
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
	c.wait.Wait()
}

func (c *crowd) login(i int) {
	err := c.visit(i)
	var no answer
	switch {
	case err == nil:
		c.good.Add(1)
	case errors.As(err, &no):
		c.mu.Lock()
		c.refused = append(c.refused, string(no))
		c.mu.Unlock()
	default:
		c.lost.Add(1)
		c.mu.Lock()
		c.causes = append(c.causes, err.Error())
		c.mu.Unlock()
	}
}

// An answer is one that a user would see.
type answer string

func (a answer) Error() string { return string(a) }

// session logs in and out. A connection that ends after the login is no failed login.
func session(conn net.Conn, user, password string, patience time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	expect := func(prefix string) error {
		for {
			line, err := r.ReadString('\n')
			switch {
			case err != nil:
				return err
			case strings.HasPrefix(line, prefix):
				return nil
			case !strings.HasPrefix(line, "* ") || strings.HasPrefix(line, "* BYE"):
				return answer(line)
			}
		}
	}
	if err := expect("* OK "); err != nil {
		return err
	}
	fmt.Fprintf(conn, "a LOGIN %s %s\r\n", user, password)
	if err := expect("a OK "); err != nil {
		return err
	}
	fmt.Fprint(conn, "b LOGOUT\r\n")
	for {
		if _, err := r.ReadString('\n'); err != nil {
			return nil
		}
	}
}

// admin says a command to HAProxy's socket and returns the answer.
func admin(t *testing.T, socket, command string) string {
	t.Helper()
	return harness.Run(t, command+"\n", "socat", "stdio", socket)
}

// state returns one column of HAProxy's statistics for a server.
func state(t *testing.T, socket, server string, column int) string {
	t.Helper()
	for line := range strings.Lines(admin(t, socket, "show stat")) {
		if fields := strings.Split(line, ","); strings.Join(fields[:min(2, len(fields))], "/") == server {
			return fields[column]
		}
	}
	return ""
}

// Columns of "show stat".
const (
	current  = 4
	sessions = 7 // there were ever
	status   = 17
)

// oneDatabase starts PostgreSQL with etc/examples' table and the accounts in it, and settings for it from
// etc/authpgsqlrc.
func oneDatabase(t *testing.T, users int) {
	t.Helper()
	db := harness.Postgres(t, "127.0.5.9")
	example := harness.Source(t, "etc/examples/pgsql.sql")
	db.SQL(t, example)
	for i := range users {
		db.SQL(
			t,
			fmt.Sprintf(
				"INSERT INTO accounts (address, clear, home, mailhost) VALUES ('user%d', 'user%d', '/nonexistent', "+
					"'%s');\n",
				i,
				i,
				mailhost,
			),
		)
	}
	text := harness.Source(t, "etc/authpgsqlrc")
	rc := strings.ReplaceAll(text, "host=/run/postgresql", "host=127.0.5.9")
	rc = strings.ReplaceAll(rc, "#PGSQL_CLEAR_PWFIELD", "PGSQL_CLEAR_PWFIELD")
	if !strings.Contains(rc, "\nPGSQL_CLEAR_PWFIELD") {
		rc += "PGSQL_CLEAR_PWFIELD\tclear\n"
	}
	// The example's empty crypt value would decide.
	rc = strings.ReplaceAll(rc, "\nPGSQL_CRYPT_PWFIELD", "\n# PGSQL_CRYPT_PWFIELD")
	write(t, "/etc/courier/authpgsqlrc", rc, 0o600)
}

// TestDrill: HAProxy with etc/haproxy/haproxy.cfg as it is, two proxies, one database. A proxy is drained, by
// what docs/high-availability.md says: nobody notices. A proxy is killed: those who connect again are served
// by the other. It comes back: it is used again. Nobody's password is refused.
func TestDrill(t *testing.T) {
	const clients = 20
	there, _ := accounts(clients)
	harness.Hosts(t, balancer+" mail.example.com", "127.0.5.1 proxy1.example.com",
		"127.0.5.2 proxy2.example.com",
		balancer+" balancer1.example.com", "127.0.0.11 balancer2.example.com")
	t.Cleanup(func() { harness.Hosts(t) })
	harness.Dovecot(t, harness.DovecotOptions{Addr: mailhost, Accounts: there})
	oneDatabase(t, clients)
	start := func(n int, auth *harness.Service) *harness.Process {
		env := harness.Env{"AUTHDAEMON_SOCKET": auth.Socket, "HAPROXY_ALLOW": "127.0.0.0/8"}
		ip := fmt.Sprintf("127.0.5.%d", n)
		env["IMAP_PROXY"], env["HAPROXY"] = "1", "1"
		return harness.IMAP.UnderCourier(t, ip, harness.PlainBin(t, "imapd-proxy"), env)
	}
	auth1, auth2 := harness.Authdaemond(t, "authpgsql", nil), harness.Authdaemond(t, "authpgsql", nil)
	proxy1, proxy2 := start(1, auth1), start(2, auth2)
	for _, ip := range []string{"127.0.5.1", "127.0.5.2"} {
		harness.POP3.UnderCourier(
			t,
			ip,
			harness.PlainBin(t, "pop3d-proxy"),
			harness.Env{
				"AUTHDAEMON_SOCKET": auth1.Socket, "POP3_PROXY": "1", "HAPROXY": "1",
				"HAPROXY_ALLOW": "127.0.0.0/8",
			},
		)
	}
	config := harness.Source(t, "etc/haproxy/haproxy.cfg")
	socket := filepath.Join(harness.Dir(t), "admin.sock")
	haproxy(t, config, balancer+":143", "HAPROXY_SOCKET="+socket, unlimited)
	play(t, balancer+":110", logins["pop3"].good)

	const loggedIn = `LOGIN, user=`
	c := newCrowd(t, balancer+":143", clients)
	eventually := func(what string, condition func() bool) {
		t.Helper()
		if !harness.Eventually(condition) {
			t.Fatalf("not seen: %s (%d logins, %d lost, refused %q)", what, c.good.Load(), c.lost.Load(), c.refused)
		}
	}
	more := func(p *harness.Process) func() bool {
		had := len(p.Log.Find(loggedIn))
		return func() bool { return len(p.Log.Find(loggedIn)) >= had+5 }
	}
	eventually("both in use", func() bool {
		return more(proxy1)() || len(proxy1.Log.Find(loggedIn)) > 5 && len(proxy2.Log.Find(loggedIn)) > 5
	})

	operate := func(title string) {
		t.Helper()
		recipe := recipes(t, "docs/high-availability.md")[title]
		if !strings.Contains(recipe, "/run/haproxy/admin.sock") {
			t.Fatalf("docs/high-availability.md has no recipe %q", title)
		}
		harness.Run(t, "", "sh", "-e", "-c", strings.ReplaceAll(recipe, "/run/haproxy/admin.sock", socket))
	}
	operate("Taking a proxy out")
	// "DRAIN 1/2" as long as not all of its first health checks are done.
	eventually("draining", func() bool { return state(t, socket, "pop3/proxy1", status) == "DRAIN" })
	eventually("drained", func() bool { return state(t, socket, "imap/proxy1", current) == "0" })
	before := state(t, socket, "imap/proxy1", sessions)
	eventually("the other one in use", more(proxy2))
	if after := state(t, socket, "imap/proxy1", sessions); after != before {
		t.Errorf("a drained proxy had %s connections, now %s", before, after)
	}
	if lost := c.lost.Load(); lost != 0 {
		t.Errorf("draining cost %d connections", lost)
	}
	operate("Back in use")
	eventually("drained proxy back", more(proxy1))

	proxy1.Signal(t, syscall.SIGKILL)
	eventually("logins after the kill", more(proxy2))
	eventually("marked down",
		func() bool { return strings.HasPrefix(state(t, socket, "imap/proxy1", status), "DOWN") })
	lost := c.lost.Load()
	eventually("logins while one is down", more(proxy2))
	if now := c.lost.Load(); now != lost {
		t.Errorf("%d connections lost after the dead proxy was known", now-lost)
	}
	again := start(1, auth1)
	eventually("marked up", func() bool { return state(t, socket, "imap/proxy1", status) == "UP" })
	eventually("logins at both", more(again))
	eventually("logins at both", more(proxy2))
	c.end()
	t.Logf("%d logins, %d connections lost to the kill", c.good.Load(), c.lost.Load())
	if len(c.refused) > 0 {
		t.Errorf("refused: %q", c.refused)
	}
	for _, p := range []*harness.Process{proxy1, again, proxy2} {
		if lines := p.Log.Find(`LOGIN FAILED|^(ERR|CRIT)`); len(lines) > 0 {
			t.Errorf("in the log: %q", lines)
		}
	}
}
