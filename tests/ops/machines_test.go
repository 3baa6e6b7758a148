package ops

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mailproxy/tests/clients"
	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// proxyMachine is a proxy with all four ports.
type proxyMachine struct {
	ip    string
	ports map[string]*harness.Process // "imap", "pop3", "imaps", "pop3s"
}

// startMachines starts proxies for the accounts in userdb, all with the certificate of mail.example.com, and
// returns them with the file of the authority. Each name in more is a setting for all of them.
func startMachines(t *testing.T, more harness.Env, ips ...string) (machines []proxyMachine, trust string) {
	t.Helper()
	pki := harness.NewPKI(t)
	pair := pki.File(t, "mail.pem", testcert.Spec{Name: "mail.example.com"})
	for _, ip := range ips {
		env := harness.Env{
			"IMAP_PROXY": "1", "POP3_PROXY": "1", "LOGIN_FAIL_DELAY": "1", "TLS_CERTFILE": pair,
			"TLS_CACHEFILE": "", "IMAP_STARTTLS": "YES", "POP3_STARTTLS": "YES",
		}.With(more)
		over := harness.OverTLS(env)
		imapd, pop3d := harness.PlainBin(t, "imapd-proxy"), harness.PlainBin(t, "pop3d-proxy")
		machines = append(machines, proxyMachine{ip, map[string]*harness.Process{
			"imap": harness.IMAP.UnderCourier(t, ip, imapd, env),
			"pop3": harness.POP3.UnderCourier(t, ip, pop3d, env),
			"imaps": harness.Couriertcpd(t, harness.TCPD{Addr: ip, Port: 993, Config: "imapd", Env: over,
				Program: []string{imapd, harness.CourierIMAPD, "Maildir"}}),
			"pop3s": harness.Couriertcpd(t, harness.TCPD{Addr: ip, Port: 995, Config: "pop3d", Env: over,
				Program: []string{pop3d, harness.CourierPOP3D, "Maildir"}}),
		}})
	}
	return machines, pki.Trust
}

// logins counts the logins that a proxy has logged.
func (m *proxyMachine) logins() (n int) {
	for _, p := range m.ports {
		n += len(p.Log.Find(`^INFO: LOGIN, user=`))
	}
	return n
}

// kill ends all of a proxy at once.
func (m *proxyMachine) kill(t *testing.T) {
	t.Helper()
	for _, p := range m.ports {
		p.Signal(t, syscall.SIGKILL)
	}
	for _, p := range m.ports {
		if !harness.Eventually(p.Ended) {
			t.Fatal("a launcher does not end")
		}
	}
}

// oneMailbox starts a mailhost that has user0's only message, and the account database that says so.
func oneMailbox(t *testing.T) {
	t.Helper()
	there, elsewhere := accounts(1)
	there[0].Home = harness.NewHome(t, harness.Message("hello"))
	harness.Userdb(t, elsewhere...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.Dovecot(t, harness.DovecotOptions{Addr: mailhost, Accounts: there})
}

// reads reports how a client gets the message from mail.example.com.
func reads(t *testing.T, c clients.Client, way clients.TLS, trust string) error {
	t.Helper()
	s := clients.Server{
		IMAP: "mail.example.com:143", POP3: "mail.example.com:110", User: "user0", Password: "user0",
		TLS: way, Trust: trust,
	}
	if way == clients.FromStart {
		s.IMAP, s.POP3 = "mail.example.com:993", "mail.example.com:995"
	}
	got, err := c.Subjects(t, s)
	if err == nil && !slices.Equal(got, []string{"hello"}) {
		err = fmt.Errorf("it got %q", got)
	}
	return err
}

// TestClientsThroughHAProxy: real clients read over every port of etc/haproxy/haproxy.cfg, in clear, with
// STARTTLS and on the TLS ports, from both proxies, and from the one that is left when the other dies. The
// health checks, those over TLS too, are no failed logins.
func TestClientsThroughHAProxy(t *testing.T) {
	oneMailbox(t)
	harness.Hosts(t, balancer+" mail.example.com", "127.0.5.1 proxy1.example.com",
		"127.0.5.2 proxy2.example.com",
		balancer+" balancer1.example.com", "127.0.0.11 balancer2.example.com")
	t.Cleanup(func() { harness.Hosts(t) })
	machines, trust := startMachines(t, harness.Env{"HAPROXY": "1", "HAPROXY_ALLOW": "127.0.0.0/8"}, "127.0.5.1",
		"127.0.5.2")
	config := harness.Source(t, "etc/haproxy/haproxy.cfg")
	socket := filepath.Join(harness.Dir(t), "admin.sock")
	haproxy(t, config, balancer+":995", "HAPROXY_SOCKET="+socket, unlimited)
	backends := []string{"imap", "imaps", "pop3", "pop3s"}
	all := func(server, want string) {
		t.Helper()
		for _, backend := range backends {
			if !harness.Eventually(
				func() bool { return strings.HasPrefix(state(t, socket, backend+"/"+server, status), want) }) {
				t.Fatalf("%s/%s is %s instead of %s", backend, server, state(t, socket, backend+"/"+server, status), want)
			}
		}
	}
	all("proxy1", "UP")
	all("proxy2", "UP")
	everybody := func() {
		t.Helper()
		for _, way := range []clients.TLS{"", clients.StartTLS, clients.FromStart} {
			for _, c := range clients.All() {
				if err := reads(t, c, way, trust); err != nil {
					t.Errorf("%s: %v", way, err)
				}
			}
		}
	}
	everybody()
	for _, m := range machines {
		if m.logins() == 0 {
			t.Errorf("no login at %s", m.ip)
		}
		m.ports["imaps"].Log.Wait(t,
			`^DEBUG: LOGOUT, ip=\[::ffff:127\.0\.0\.1\d?\], port=\[\d+\], rcvd=\d+, sent=\d+`) // a health check
		for name, p := range m.ports {
			if lines := p.Log.Find(`LOGIN FAILED|TLS FAILED|^(ERR|CRIT|WARN)`); len(lines) > 0 {
				t.Errorf("%s %s: %q", m.ip, name, lines)
			}
		}
	}
	machines[0].kill(t)
	all("proxy1", "DOWN")
	everybody()
}
