// Package tls tests encryption on both sides of the proxy, with real clients, real mailhosts and couriertls.
//
// What is not tested: TLS_CIPHER_LIST beyond its parser's own tests, Courier with OpenSSL (Debian builds it
// with GnuTLS).
package tls

import (
	"crypto/tls"
	"net"
	"os"
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
	"mailproxy/tests/transcript"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// names are the hosts of these tests. Clients compare them with certificates; not all can compare addresses.
var names = map[string]string{
	"127.0.1.1": "proxy.example",
	"127.0.1.2": "courier.example",
	dovecotAddr: dovecotName,
}

// hosts puts the names into the island's /etc/hosts.
func hosts(t testing.TB) {
	t.Helper()
	var lines []string
	for addr, name := range names {
		lines = append(lines, addr+" "+name)
	}
	harness.Hosts(t, lines...)
}

// pki is one authority with the certificates of a test, and the mode in which the test runs.
type pki struct {
	*harness.PKI
	mode *harness.Mode
	cert string // TLS_CERTFILE: key and certificate of "proxy.example", 127.0.0.1 and 127.0.1.0/28
}

// ways runs a test once in each mode.
func ways(t *testing.T, test func(t *testing.T, p *pki)) {
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) { test(t, newPKI(t, m)) })
}

// frontEnds runs a test once in each mode in which front ends differ, for tests of what comes before a login.
func frontEnds(t *testing.T, test func(t *testing.T, p *pki)) {
	harness.EachFrontEnd(t, func(t *testing.T, m *harness.Mode) { test(t, newPKI(t, m)) })
}

func newPKI(t testing.TB, m *harness.Mode) *pki {
	t.Helper()
	p := &pki{PKI: harness.NewPKI(t), mode: m}
	p.cert = p.File(
		t,
		"proxy.pem",
		testcert.Spec{Name: "proxy.example", RSA: true, Names: []string{"proxy.example", "courier.example",
			"127.0.0.1", "127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4"}},
	)
	return p
}

// env are the settings of a front end that speaks TLS.
func (p *pki) env(more harness.Env) harness.Env {
	return harness.Env{
		"TLS_CERTFILE":     p.cert,
		"TLS_TRUSTCERTS":   p.Trust,
		"TLS_CACHEFILE":    "",
		"TLS_VERIFYPEER":   "NONE",
		"IMAP_STARTTLS":    "YES",
		"POP3_STARTTLS":    "YES",
		"LOGIN_FAIL_DELAY": "1",
	}.With(
		more,
	)
}

// startFront starts a proxy with all four ports: STARTTLS and STLS on 143 and 110, TLS on 993 and 995.
func startFront(t testing.TB, p *pki, addr string, env harness.Env) *harness.Proxy {
	t.Helper()
	return p.mode.Start(t, harness.ProxyOptions{Addr: addr, TLS: true, Env: env})
}

// underCouriertls starts our programs behind couriertls on 993 and 995, and on 110 with our own STLS. There
// the mode says only whether relayd takes the sessions of the last.
func underCouriertls(t testing.TB, p *pki, addr string, env harness.Env) *harness.Proxy {
	t.Helper()
	f := p.mode.Start(t, harness.ProxyOptions{Addr: addr, Env: env})
	wrap := []string{"/usr/bin/couriertls", "-server", "-tcpd"}
	env = harness.OverTLS(harness.Env{"IMAP_PROXY": "1", "POP3_PROXY": "1"}.With(env))
	harness.Couriertcpd(t, harness.TCPD{Addr: addr, Port: 993, Config: "imapd", Env: env,
		Program: append(wrap[:3:3], harness.PlainBin(t, "imapd-proxy"), harness.CourierIMAPD, "Maildir")})
	harness.Couriertcpd(t, harness.TCPD{Addr: addr, Port: 995, Config: "pop3d", Env: env,
		Program: append(wrap[:3:3], harness.PlainBin(t, "pop3d-proxy"), harness.CourierPOP3D, "Maildir")})
	return f
}

// Where the mailhosts are.
const (
	dovecotAddr = harness.DovecotHost
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

// startAccounts starts Dovecot, which speaks TLS, and Courier's authdaemond with one account here and one
// there.
func startAccounts(t testing.TB, p *pki, mailhost string) *harness.DovecotServer {
	t.Helper()
	var boxes []harness.Mailbox
	for _, a := range accounts {
		boxes = append(boxes, harness.Mailbox{Subjects: a.subjects,
			Account: harness.Account{Name: a.name, Password: a.password, CRAM: true}})
	}
	boxes[1].Host, boxes[1].Options = harness.DovecotHost, "mailhost="+mailhost
	pair := p.File(t, "dovecot.pem", testcert.Spec{Name: dovecotName, Names: []string{dovecotName, dovecotAddr}})
	return harness.Site{Mailboxes: boxes, Dovecot: harness.DovecotOptions{CertFile: pair, KeyFile: pair,
		MasterUsers: []harness.Account{{Name: "master", Password: "master secret"}}}}.Start(t)
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
	raw := harness.Connect(t, addr)
	raw.SetDeadline(time.Now().Add(60 * time.Second))
	return raw
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
