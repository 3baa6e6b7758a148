package ops

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// residentProxy is a machine whose front ends are resident, by protocol.
type residentProxy map[string]*harness.Process

// startResident starts the front ends of a machine with a file of settings.
func startResident(t *testing.T, ip, settings string) residentProxy {
	t.Helper()
	p := residentProxy{}
	for name, protocol := range map[string]harness.Protocol{"imap": harness.IMAP, "pop3": harness.POP3} {
		p[name] = harness.StartResident(t, harness.Bin(t, protocol.Program), nil, []string{"-config", settings},
			protocol.At(ip), fmt.Sprintf("tls:%s:%d", ip, protocol.TLSPort))
	}
	return p
}

// find returns the lines of both logs.
func (p residentProxy) find(pattern string) (lines []string) {
	for _, process := range p {
		lines = append(lines, process.Log.Find(pattern)...)
	}
	return lines
}

// balancerSettings are the settings for proxies behind a balancer that docs/high-availability.md names, with
// the address that connections have on this machine.
func balancerSettings(t *testing.T) string {
	t.Helper()
	text := harness.Source(t, "docs/high-availability.md")
	block := regexp.MustCompile("(?s)\n```\n(HAPROXY=1\n.*?)```").FindStringSubmatch(text)
	if block == nil || !strings.Contains(block[1], `"192.0.2.10 192.0.2.11"`) {
		t.Fatal("docs/high-availability.md does not say what a proxy behind a balancer needs")
	}
	return strings.ReplaceAll(block[1], "192.0.2.10 192.0.2.11", "127.0.0.1")
}

// tlsSession logs in and out over TLS from the client's address. The certificate must be the proxies'.
func tlsSession(t *testing.T, addr, protocol string, trust *x509.CertPool) error {
	t.Helper()
	conn, err := dial(addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(harness.Patience))
	over := tls.Client(conn, &tls.Config{RootCAs: trust, ServerName: "mail.example.com"})
	if protocol == "imap" {
		return session(over, "user0", "user0", 2*harness.Patience)
	}
	r := bufio.NewReader(over)
	for _, say := range []string{"", "USER user0\r\n", "PASS user0\r\n", "QUIT\r\n"} {
		if _, err := io.WriteString(over, say); err != nil {
			return err
		}
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "+OK") {
			return fmt.Errorf("after %q: %q, %w", say, line, err)
		}
	}
	return nil
}

// TestResidentBehindHAProxy: two machines with resident front ends behind etc/haproxy/haproxy.cfg as it is,
// with the settings of docs/high-availability.md. Each port goes through, TLS to the proxies; the log has the
// client's address. Health checks leave DEBUG lines and nothing else. One machine is stopped under load, and
// comes back.
func TestResidentBehindHAProxy(t *testing.T) {
	const clients = 10
	there, elsewhere := accounts(clients)
	harness.Userdb(t, elsewhere...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.Dovecot(t, harness.DovecotOptions{Addr: mailhost, Accounts: there})
	harness.Hosts(t, balancer+" mail.example.com", "127.0.6.1 proxy1.example.com",
		"127.0.6.2 proxy2.example.com",
		balancer+" balancer1.example.com", "127.0.0.11 balancer2.example.com")
	t.Cleanup(func() { harness.Hosts(t) })
	pki := harness.NewPKI(t)
	trust := x509.NewCertPool()
	trust.AddCert(pki.CA.Cert)
	pair := pki.File(t, "mail.pem", testcert.Spec{Name: "mail.example.com"})
	settings := filepath.Join(pki.Dir, "settings")
	write(t, settings, balancerSettings(t)+"IMAP_PROXY=1\nPOP3_PROXY=1\nRELAY_SOCKET=\nTLS_CERTFILE="+pair+
		"\nAUTHDAEMON_SOCKET="+harness.CourierAuthSocket+"\nMAXUNAUTH=1000\nMAXUNAUTHPERIP="+
		fmt.Sprint(clients)+"\n", 0o644)
	proxy1, proxy2 := startResident(t, "127.0.6.1", settings), startResident(t, "127.0.6.2", settings)
	config := harness.Source(t, "etc/haproxy/haproxy.cfg")
	socket := filepath.Join(pki.Dir, "admin.sock")
	haproxy(t, config, balancer+":143", "HAPROXY_SOCKET="+socket, unlimited)
	eventually := func(what string, condition func() bool) {
		t.Helper()
		if !harness.Eventually(condition) {
			t.Fatalf("not seen: %s\n%s", what, admin(t, socket, "show stat"))
		}
	}
	backends := []string{"imap", "imaps", "pop3", "pop3s"}
	up := func(server string) {
		t.Helper()
		for _, backend := range backends {
			eventually(backend+"/"+server+" up",
				func() bool { return state(t, socket, backend+"/"+server, status) == "UP" })
		}
	}
	up("proxy1")
	up("proxy2")

	play(t, balancer+":143", logins["imap"].good)
	play(t, balancer+":110", logins["pop3"].good)
	for port, protocol := range map[string]string{"993": "imap", "995": "pop3"} {
		if err := tlsSession(t, net.JoinHostPort(balancer, port), protocol, trust); err != nil {
			t.Errorf("port %s: %v", port, err)
		}
	}
	for _, line := range []string{"protocol=IMAP$", "protocol=POP3$", "protocol=IMAP, starttls=1$",
		"protocol=POP3, stls=1$"} {
		pattern := `^INFO: LOGIN, user=user0, ip=\[::ffff:127\.0\.0\.77\], port=\[\d+\], ` + line
		eventually(line, func() bool { return len(proxy1.find(pattern))+len(proxy2.find(pattern)) == 1 })
	}
	for _, p := range []residentProxy{proxy1, proxy2} {
		eventually("health checks",
			func() bool { return len(p.find(`^DEBUG: LOGOUT, ip=\[::ffff:127\.0\.0\.1\]`)) > 4 })
		if lines := p.find(`^(INFO|NOTICE|WARN|ERR|CRIT).*127\.0\.0\.1\]|^(WARN|ERR|CRIT)`); len(lines) > 0 {
			t.Errorf("health checks leave %q", lines)
		}
	}

	c := newCrowd(t, balancer+":143", clients)
	more := func(p residentProxy) func() bool {
		had := len(p.find(`^INFO: LOGIN, user=`))
		return func() bool { return len(p.find(`^INFO: LOGIN, user=`)) >= had+2*clients }
	}
	eventually("logins at the first", more(proxy1))
	eventually("logins at the second", more(proxy2))
	for _, p := range proxy1 {
		p.Signal(t, syscall.SIGTERM)
	}
	for _, p := range proxy1 {
		if code := p.Wait(t); code != 0 {
			t.Errorf("exit status %d:\n%s", code, p.Log)
		}
	}
	eventually("logins at the one that is left", more(proxy2))
	for _, backend := range backends {
		eventually(backend+" marked down",
			func() bool { return strings.HasPrefix(state(t, socket, backend+"/proxy1", status), "DOWN") })
	}
	lost := c.lost.Load()
	eventually("logins while one is down", more(proxy2))
	if now := c.lost.Load(); now != lost {
		t.Errorf("%d connections lost after the stopped proxy was known: %q", now-lost, c.causes)
	}
	again := startResident(t, "127.0.6.1", settings)
	up("proxy1")
	eventually("logins at the one that is back", more(again))
	c.end()
	t.Logf("%d logins, %d connections lost to the stop, %d told to come back", c.good.Load(), lost,
		len(c.refused))
	for _, text := range c.refused {
		if !strings.HasPrefix(text, "* BYE ") {
			t.Errorf("refused: %q", text)
		}
	}
	for _, p := range []residentProxy{proxy1, proxy2, again} {
		if lines := p.find(`LOGIN FAILED|^(WARN|ERR|CRIT)`); len(lines) > 0 {
			t.Errorf("in the log: %q", lines)
		}
	}
}
