package logins

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"mailproxy/tests/bench/mailhost"
	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

const (
	mailhostAddr = "127.0.0.9"
	user         = "ann"
	password     = "secret"
)

// kind is a way to log in.
type kind struct {
	harness.Protocol
	security    string
	certificate string // file with certificate and key
}

// What kinds of security there are.
const (
	plain   = "plain"
	ecdsa   = "TLS 1.3, ECDSA P-256"
	rsa     = "TLS 1.3, RSA-2048"
	resumed = "TLS 1.3 resumed, ECDSA P-256"
)

var securities = []string{plain, ecdsa, rsa, resumed}

func (k kind) tls() bool { return k.security != plain }

func (k kind) port() int {
	if k.tls() {
		return k.TLSPort
	}
	return k.Port
}

// at is where a candidate at this address listens.
func (k kind) at(addr string) string { return fmt.Sprintf("%s:%d", addr, k.port()) }

// candidate is a proxy that is measured.
type candidate struct {
	name  string
	addr  string // "ip:port"
	trees []int  // its processes, with all below them
	auth  []int  // those of its authentication service
	// settled waits until no process of a session is left, so that all their time is counted; nil: there are
	// none.
	settled func()
	orphans bool // some of its processes are reaped by process 1
}

// cpu is the processor time so far, of the proxy and of its authentication service.
func (c *candidate) cpu(t testing.TB) (proxy, auth time.Duration) {
	t.Helper()
	if c.settled != nil {
		c.settled()
	}
	proxy = measure.TreeCPU(t, c.trees...)
	if c.orphans {
		proxy += measure.CPU(t, 1)
	}
	return proxy, measure.TreeCPU(t, c.auth...)
}

// Names that the goals refer to.
const (
	ownEngine = "resident"
	dovecot   = "Dovecot"
	nginx     = "nginx"
)

// candidates starts all of them, with the mailhost and the account that all have.
func candidates(t testing.TB, k kind) []*candidate {
	t.Helper()
	if k.tls() {
		k.certificate = harness.NewPKI(t).File(t, "cert.pem",
			testcert.Spec{Name: "bench.example", RSA: k.security == rsa})
	}
	mailhost.Start(t, mailhostAddr)
	harness.Userdb(t, harness.Account{Name: user, Password: password, Options: "mailhost=" + mailhostAddr})
	var theirs *harness.Process
	var ours, relayd *harness.Service
	measure.WithTimerSlack(t, func() {
		ours = harness.PlainAuthdaemond(t, "authuserdb", nil)
		theirs = harness.CourierAuthdaemond(t, "authuserdb", nil)
		relayd = harness.PlainRelayd(t)
	})
	resident := startResident(t, k, "127.0.1.1", ours, nil)
	resident.name = ownEngine
	handing := startResident(t, k, "127.0.1.2", ours, relayd)
	handing.name = "resident with relayd"
	return []*candidate{
		resident,
		handing,
		startPerConnection(t, k, "127.0.1.3", ours, relayd),
		startDovecot(t, k, "127.0.1.4"),
		startNginx(t, k, "127.0.1.5"),
		startCourier(t, k, "127.0.1.6", theirs),
	}
}

// startResident starts our front end as one process for all connections.
func startResident(t testing.TB, k kind, addr string, auth, relayd *harness.Service) *candidate {
	listen, socket := k.at(addr), ""
	if k.tls() {
		listen = "tls:" + listen
	}
	c := &candidate{addr: k.at(addr), auth: []int{auth.Cmd.Process.Pid}}
	if relayd != nil {
		socket = relayd.Socket
		c.trees = []int{relayd.Cmd.Process.Pid}
	}
	cache := harness.Dir(t) // for the keys of its session tickets
	harness.Resident().Give(t, cache)
	env := harness.Env{"IMAP_PROXY": "1", "POP3_PROXY": "1", "AUTHDAEMON_SOCKET": auth.Socket,
		"RELAY_SOCKET": socket, "TLS_CERTFILE": k.certificate, "TLS_CACHEFILE": filepath.Join(cache, "cache")}
	measure.WithTimerSlack(t, func() {
		p := harness.StartResident(t, harness.PlainBin(t, k.Program), env, nil, listen)
		c.trees = append(c.trees, p.Cmd.Process.Pid)
	})
	return c
}

// startPerConnection starts our front end under couriertcpd, a process for each login.
func startPerConnection(t testing.TB, k kind, addr string, auth, relayd *harness.Service) *candidate {
	c := underCouriertcpd(t, k, addr, harness.Env{
		"AUTHDAEMON_SOCKET": auth.Socket, "RELAY_SOCKET": relayd.Socket, "GOMAXPROCS": "1",
	}, harness.PlainBin(t, k.Program))
	c.name = "per connection with relayd"
	c.trees = append(c.trees, relayd.Cmd.Process.Pid)
	c.auth = []int{auth.Cmd.Process.Pid}
	return c
}

// startCourier starts Courier's login program, at its best where TLS is asked for: without its bundle of
// authorities.
func startCourier(t testing.TB, k kind, addr string, auth *harness.Process) *candidate {
	program := []string{k.CourierLogin}
	if k.tls() {
		program = []string{"/usr/bin/couriertls", "-server", "-tcpd", "-user=courier", k.CourierLogin}
	}
	c := underCouriertcpd(t, k, addr, harness.Env{"TLS_TRUSTCERTS": ""}, program...)
	c.name = "Courier"
	c.auth = []int{auth.Cmd.Process.Pid}
	c.orphans = k.tls()
	ended := c.settled
	c.settled = func() {
		harness.NoneLeft(t, "couriertls", filepath.Base(k.CourierLogin))
		ended()
	}
	return c
}

// underCouriertcpd starts a login program a connection.
func underCouriertcpd(t testing.TB, k kind, addr string, more harness.Env, program ...string) *candidate {
	env := harness.Env{"IMAP_PROXY": "1", "POP3_PROXY": "1"}.With(more)
	if k.tls() {
		env = harness.OverTLS(env).With(harness.Env{"TLS_CERTFILE": k.certificate, "TLS_VERIFYPEER": "NONE"})
	}
	var p *harness.Process
	measure.WithTimerSlack(t, func() {
		p = harness.Couriertcpd(t, harness.TCPD{Addr: addr, Port: k.port(), Config: k.Config, Env: env,
			Program: append(program, k.LocalServer, "Maildir")})
	})
	launcher := p.Cmd.Process.Pid
	return &candidate{addr: k.at(addr), trees: []int{launcher}, settled: func() {
		if !harness.Eventually(func() bool { return len(measure.Children(t, launcher)) == 0 }) {
			t.Fatalf("a session at %s does not end", addr)
		}
	}}
}

// startDovecot runs Dovecot as a proxy in its mode for high performance.
func startDovecot(t testing.TB, k kind, addr string) *candidate {
	dir := harness.Dir(t)
	passwords := write(t, dir, "passwd", fmt.Sprintf("%s:{PLAIN}%s::::::\n", user, password))
	ssl, port := "no", [4]int{}
	if k.tls() {
		ssl = fmt.Sprintf("yes\nssl_cert = <%[1]s\nssl_key = <%[1]s", k.certificate)
	}
	for i, p := range []int{143, 993, 110, 995} {
		if p == k.port() {
			port[i] = p
		}
	}
	conf := write(t, dir, "dovecot.conf", fmt.Sprintf(`base_dir = %[1]s/base
state_dir = %[1]s/state
log_path = %[1]s/log
instance_name = bench
protocols = imap pop3
listen = %[2]s
ssl = %[3]s
disable_plaintext_auth = no
mail_max_userip_connections = 0
default_client_limit = 4000
default_vsz_limit = 1G
passdb {
  driver = passwd-file
  args = %[4]s
  override_fields = proxy=y host=%[5]s
}
userdb {
  driver = static
  args = uid=mail gid=mail home=/nonexistent
}
service imap-login {
  service_count = 0
  process_min_avail = 2
  process_limit = 2
  inet_listener imap {
    port = %[6]d
  }
  inet_listener imaps {
    port = %[7]d
    ssl = yes
  }
}
service pop3-login {
  service_count = 0
  process_min_avail = 2
  process_limit = 2
  inet_listener pop3 {
    port = %[8]d
  }
  inet_listener pop3s {
    port = %[9]d
    ssl = yes
  }
}
`, dir, addr, ssl, passwords, mailhostAddr, port[0], port[1], port[2], port[3]))
	p := launch(t, exec.Command("/usr/sbin/dovecot", "-F", "-c", conf), k.at(addr))
	return &candidate{name: dovecot, addr: k.at(addr), trees: []int{p.Cmd.Process.Pid}}
}

// write writes a file for servers that run as somebody else.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	harness.WriteFile(t, path, text, 0o644)
	return path
}
