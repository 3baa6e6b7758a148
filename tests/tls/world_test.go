// Package tls tests encryption on both sides of the proxy, with real clients, real mailhosts and couriertls.
//
// What is not tested: TLS_CIPHER_LIST beyond its parser's own tests, Courier with OpenSSL (Debian builds it with GnuTLS).
package tls

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailproxy/internal/tlsconf/testcert"
	"mailproxy/tests/harness"
	"mailproxy/tests/transcript"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// names are the hosts of these tests. Clients compare them with certificates; not all can compare addresses.
var names = map[string]string{"127.0.1.1": "proxy.example", "127.0.1.2": "courier.example", dovecotAddr: dovecotName}

// hosts puts the names into the island's /etc/hosts.
func hosts(t testing.TB) {
	t.Helper()
	text := "127.0.0.1 localhost\n"
	for addr, name := range names {
		text += addr + " " + name + "\n"
	}
	path := filepath.Join(harness.Dir(t), "hosts")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(path, "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount("/etc/hosts", unix.MNT_DETACH) })
}

// pki is one authority with the certificates of a test, all files of which are in dir.
type pki struct {
	dir    string
	ca     *testcert.Pair
	trust  string           // file with the authority's certificate
	cert   string           // TLS_CERTFILE: key and certificate of "proxy.example", 127.0.0.1 and 127.0.1.0/28
	relayd *harness.Service // nil: sessions stay in the front ends
}

// ways runs a test twice: without a relayd, and with one that takes the sessions once they are logged in. What may differ is said
// where it is tested: relayd writes the line at the end of a session, and counts the broken ones instead of writing a line about
// each (ends, broken).
func ways(t *testing.T, test func(t *testing.T, p *pki)) {
	t.Run("alone", func(t *testing.T) { test(t, newPKI(t)) })
	t.Run("relayd", func(t *testing.T) {
		p := newPKI(t)
		p.relayd = harness.Relayd(t)
		test(t, p)
	})
}

// metric asks relayd for one of its counters.
func (p *pki) metric(t *testing.T, name string) int {
	t.Helper()
	text := harness.Run(t, "", harness.PlainBin(t, "relayd"), "-socket", p.relayd.Socket, "stats")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "mailproxy_"+name+" "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in\n%s", name, text)
	return 0
}

// ends is the log with the lines at the end of sessions.
func (p *pki) ends(front *harness.Process) *harness.Log {
	if p.relayd != nil {
		return p.relayd.Log
	}
	return front.Log
}

// broken expects that n sessions of the front end have been cut off so far.
func (p *pki) broken(t *testing.T, front *harness.Process, n int) {
	t.Helper()
	if p.relayd == nil {
		if lines := front.Log.WaitN(t, n, "session broken off.*: TLS stream cut off"); len(lines) != n {
			t.Errorf("sessions broken off: %q", lines)
		}
		return
	}
	if !harness.Eventually(func() bool { return p.metric(t, "relayd_sessions_broken_total") == n }) {
		t.Errorf("%d sessions broken off, want %d", p.metric(t, "relayd_sessions_broken_total"), n)
	}
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	p := &pki{dir: harness.Dir(t), ca: testcert.CA(t, "Test CA")}
	p.trust = testcert.Write(t, filepath.Join(p.dir, "ca.pem"), p.ca.CertPEM())
	os.Chmod(p.trust, 0o644)
	p.cert = p.file(t, "proxy.pem", testcert.Spec{Name: "proxy.example", RSA: true, Names: []string{"proxy.example", "courier.example",
		"127.0.0.1", "127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4"}})
	return p
}

// file issues a certificate and writes it with its key.
func (p *pki) file(t testing.TB, name string, s testcert.Spec) string {
	t.Helper()
	return testcert.Write(t, filepath.Join(p.dir, name), p.ca.Issue(t, s).PEM(t))
}

// env are the settings of a front end that speaks TLS.
func (p *pki) env(more harness.Env) harness.Env {
	e := harness.Env{"TLS_CERTFILE": p.cert, "TLS_TRUSTCERTS": p.trust, "TLS_CACHEFILE": "", "TLS_VERIFYPEER": "NONE",
		"IMAP_STARTTLS": "YES", "POP3_STARTTLS": "YES", "IMAP_PROXY": "1", "POP3_PROXY": "1", "LOGIN_FAIL_DELAY": "1"}
	if p.relayd != nil {
		e["RELAY_SOCKET"] = p.relayd.Socket
	}
	for name, value := range more {
		e[name] = value
	}
	return e
}

// overTLS returns a front end's environment for the TLS ports.
func overTLS(e harness.Env) harness.Env {
	more := harness.Env{}
	for name, value := range e {
		more[name] = value
	}
	more["IMAP_TLS"], more["POP3_TLS"] = "1", "1"
	more["IMAP_STARTTLS"], more["POP3_STARTTLS"] = "NO", "NO"
	return more
}

// front is a proxy with all four ports.
type front struct {
	addr                     string
	imap, pop3, imaps, pop3s *harness.Process
}

// startFront runs our programs under couriertcpd: STARTTLS and STLS on 143 and 110, our own TLS or couriertls on 993 and 995.
func startFront(t testing.TB, p *pki, addr string, env harness.Env, couriertls bool) *front {
	t.Helper()
	f := &front{addr: addr}
	imapd, pop3d := harness.Bin(t, "imapd-proxy"), harness.Bin(t, "pop3d-proxy")
	f.imap = harness.IMAPUnderCourier(t, addr, imapd, env)
	f.pop3 = harness.POP3UnderCourier(t, addr, pop3d, env)
	var wrap []string
	if couriertls {
		wrap = []string{"/usr/bin/couriertls", "-server", "-tcpd"}
	}
	f.imaps = harness.Couriertcpd(t, harness.TCPD{Addr: addr, Port: 993, Config: "imapd", Env: overTLS(env),
		Program: append(wrap[:len(wrap):len(wrap)], imapd, harness.CourierIMAPD, "Maildir")})
	f.pop3s = harness.Couriertcpd(t, harness.TCPD{Addr: addr, Port: 995, Config: "pop3d", Env: overTLS(env),
		Program: append(wrap[:len(wrap):len(wrap)], pop3d, harness.CourierPOP3D, "Maildir")})
	return f
}

// Where the mailhosts are.
const (
	dovecotAddr = "127.0.0.3"
	dovecotName = "dovecot.example"
)

// account is here or on Dovecot.
type account struct {
	name, password string
	subjects       []string
}

var accounts = []account{
	{"here", "pw here", []string{"here 1", "here 2"}},
	{"there", "pw+there", []string{"there 1"}},
}

// startAccounts starts Dovecot, which speaks TLS, and Courier's auth daemon with one account here and one there.
func startAccounts(t testing.TB, p *pki, mailhost string) *harness.DovecotServer {
	t.Helper()
	userdb := []harness.Account{
		{Name: accounts[0].name, Password: accounts[0].password, CRAM: true, Home: harness.NewHome(t, harness.Message("here 1"), harness.Message("here 2"))},
		{Name: accounts[1].name, Password: accounts[1].password, CRAM: true, Options: "mailhost=" + mailhost},
	}
	harness.Userdb(t, userdb...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	there := userdb[1]
	there.Home = harness.NewHome(t, harness.Message("there 1"))
	pair := p.file(t, "dovecot.pem", testcert.Spec{Name: dovecotName, Names: []string{dovecotName, dovecotAddr}})
	return harness.Dovecot(t, harness.DovecotOptions{Addr: dovecotAddr, Accounts: []harness.Account{there}, CertFile: pair, KeyFile: pair,
		MasterUsers: []harness.Account{{Name: "master", Password: "master secret"}}})
}

// dialTLS connects with TLS from the first byte.
func dialTLS(t testing.TB, addr string, cfg *tls.Config) (*transcript.Runner, *tls.Conn) {
	t.Helper()
	raw := dialTCP(t, addr)
	conn := tls.Client(raw, cfg)
	if err := conn.Handshake(); err != nil {
		t.Fatalf("%s: %v", addr, err)
	}
	return &transcript.Runner{Conn: conn}, conn
}

func dialTCP(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	raw, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	raw.SetDeadline(time.Now().Add(60 * time.Second))
	return raw.(*net.TCPConn)
}

// upgrade plays the command that begins TLS on a clear connection, then makes the handshake.
func upgrade(t testing.TB, raw net.Conn, script string, cfg *tls.Config) (*transcript.Runner, *tls.Conn) {
	t.Helper()
	(&transcript.Runner{Conn: raw}).MustPlay(t, script)
	conn := tls.Client(raw, cfg)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return &transcript.Runner{Conn: conn}, conn
}

const (
	imapUpgrade = "S* \\* OK .*\nC: t STARTTLS\nS* t OK .*"
	pop3Upgrade = "S* \\+OK .*\nC: STLS\nS* \\+OK .*"
)
