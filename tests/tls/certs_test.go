package tls

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
	"mailproxy/tests/transcript"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Certificates by server name and by address, from our TLS and from couriertls: the same files are chosen.
func TestCertificateFiles(t *testing.T) {
	frontEnds(t, func(t *testing.T, p *pki) { testCertificateFiles(t, p, startFront) })
	t.Run("couriertls", func(t *testing.T) {
		testCertificateFiles(t, newPKI(t, harness.PerConnection()), underCouriertls)
	})
}

// starter is startFront or underCouriertls.
type starter func(t testing.TB, p *pki, addr string, env harness.Env) *harness.Proxy

func testCertificateFiles(t *testing.T, p *pki, start starter) {
	for suffix, name := range map[string]string{"www.example.com": "www.example.com",
		"127.0.1.3": "third.example"} {
		p.File(t, "proxy.pem."+suffix, testcert.Spec{Name: name})
	}
	want := map[string]string{
		"": "proxy.example", "www.example.com": "www.example.com",
		"other.example.com": "proxy.example",
	}
	third := map[string]string{
		"": "third.example", "www.example.com": "www.example.com",
		"other.example.com": "third.example",
	}
	for _, f := range []struct {
		addr string
		want map[string]string
	}{{"127.0.1.1", want}, {"127.0.1.3", third}} {
		proxy := start(t, p, f.addr, p.env(nil))
		for sni, name := range f.want {
			_, conn := dialTLS(t, proxy.At("IMAPS"), &tls.Config{ServerName: sni, InsecureSkipVerify: true})
			if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != name {
				t.Errorf("%s, name %q: certificate of %s, want %s", f.addr, sni, got, name)
			}
			_, conn = upgrade(t, dialTCP(t, proxy.At("POP3")), pop3Upgrade,
				&tls.Config{ServerName: sni, InsecureSkipVerify: true})
			if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != name {
				t.Errorf("%s STLS, name %q: certificate of %s, want %s", f.addr, sni, got, name)
			}
		}
	}
}

// A new certificate counts from the next connection; one that does not load takes STARTTLS off the list and
// is named in the log. A resident front end looks at its files once a minute.
func TestCertificateChanges(t *testing.T) { frontEnds(t, testCertificateChanges) }

func testCertificateChanges(t *testing.T, p *pki) {
	f := startFront(t, p, "127.0.1.1", p.env(nil))
	name := func() string {
		_, conn := upgrade(t, dialTCP(t, f.At("IMAP")), imapUpgrade, &tls.Config{InsecureSkipVerify: true})
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := name(); got != "proxy.example" {
		t.Error(got)
	}
	p.File(t, "proxy.pem", testcert.Spec{Name: "new.example"})
	if got := name(); !p.mode.Launched() && got != "proxy.example" {
		t.Errorf("%s, before it is looked at", got)
	}
	f.Reread(t, "IMAP")
	if got := name(); got != "new.example" {
		t.Error(got)
	}
	os.Chmod(p.cert, 0o644)
	f.Reread(t, "IMAP")
	name()
	f.Log("IMAP").Wait(t, "WARN: .*proxy.pem holds a private key and can be read by everybody")
	testcert.Write(t, p.cert, []byte("nonsense"))
	f.Reread(t, "IMAP")
	f.Reread(t, "POP3")
	r := harness.Dial(t, f.At("IMAP"))
	lacks(t, r, "STARTTLS")
	r.MustPlay(t,
		"C: a STARTTLS\nS: a BAD Error in IMAP command received by server.\nC: b NOOP\nS: b OK NOOP completed")
	f.Log("IMAP").WaitN(t, 1, "ERR: STARTTLS is not offered: .*proxy.pem")
	harness.Dialogue(t, f.At("POP3"), "S* \\+OK .*\nC: STLS\nS~ -ERR .*\nC: QUIT\nS* \\+OK .*")
	f.Log("POP3").WaitN(t, 1, "ERR: STLS is not offered: .*proxy.pem")
	raw := dialTCP(t, f.At("IMAPS"))
	if err := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
		t.Error("a handshake without a certificate")
	}
	f.Log("IMAPS").WaitN(t, 1, "TLS FAILED.*proxy.pem")
}

// TLS required: nobody logs in before it, everybody after it; capabilities change.
func TestRequired(t *testing.T) { frontEnds(t, testRequired) }

func testRequired(t *testing.T, p *pki) {
	startAccounts(t, p, dovecotAddr)
	env := p.env(harness.Env{"IMAP_TLS_REQUIRED": "1", "POP3_TLS_REQUIRED": "1", "IMAP_CAPABILITY": "IMAP4rev1",
		"IMAP_CAPABILITY_TLS": "IMAP4rev1 AUTH=PLAIN", "POP3AUTH": "", "POP3AUTH_TLS": "PLAIN"})
	f := startFront(t, p, "127.0.1.1", env)
	any := &tls.Config{InsecureSkipVerify: true}
	r, _ := upgrade(t, dialTCP(t, f.At("IMAP")), `
		S~ \* OK \[CAPABILITY IMAP4rev1 .*STARTTLS LOGINDISABLED.*
		C: a LOGIN here "pw here"
		S: a NO [PRIVACYREQUIRED] STARTTLS required
		C: t STARTTLS
		S* t OK .*`, any)
	r.MustPlay(t, "C: b CAPABILITY")
	lacks(t, r, "STARTTLS", "LOGINDISABLED")
	r.MustPlay(t, `
		S* b OK .*
		C: s STARTTLS
		S: s BAD Error in IMAP command received by server.
		C: c LOGIN here "pw here"
		S* c OK .*
		C: d LOGOUT
		S* d OK .*`)
	r, _ = upgrade(t, dialTCP(t, f.At("POP3")), `
		S* \+OK .*
		C: USER here
		S: -ERR TLS required to log in.
		C: STLS
		S* \+OK .*`, any)
	r.MustPlay(t, `
		C: CAPA
		S* \+OK .*
		S: SASL PLAIN
		S: TOP
		S* \.
		C: USER here
		S* \+OK .*
		C: PASS pw here
		S* \+OK .*
		C: QUIT
		S* \+OK .*`)
}

// Client certificates by TLS_VERIFYPEER, and EXTERNAL, for local and proxied accounts, under our TLS and
// couriertls.
func TestClientCertificates(t *testing.T) {
	frontEnds(t, func(t *testing.T, p *pki) { testClientCertificates(t, p, startFront, false) })
	t.Run("couriertls", func(t *testing.T) {
		testClientCertificates(t, newPKI(t, harness.PerConnection()), underCouriertls, true)
	})
}

func testClientCertificates(t *testing.T, p *pki, start starter, couriertls bool) {
	hosts(t)
	startAccounts(t, p, dovecotName)
	secret := testcert.Write(t, filepath.Join(p.Dir, "master"), []byte("master secret\n"))
	harness.Readable(t, secret)
	user := func(ca *testcert.Pair, s testcert.Spec) *tls.Config {
		cfg := &tls.Config{InsecureSkipVerify: true}
		if ca != nil {
			pair := ca.Issue(t, s)
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &tls.Certificate{Certificate: [][]byte{pair.DER}, PrivateKey: pair.Key}, nil
			}
		}
		return cfg
	}
	here, there := user(p.CA, testcert.Spec{Name: "x", Email: "here"}), user(p.CA,
		testcert.Spec{Name: "x", Email: "there"})
	alt := user(p.CA, testcert.Spec{Name: "x", AltMail: "here"})
	none, expired := user(nil, testcert.Spec{}), user(p.CA,
		testcert.Spec{Name: "x", Email: "here", Age: time.Hour})
	other := user(testcert.CA(t, "Other"), testcert.Spec{Name: "x", Email: "here"})
	env := harness.Env{"TLS_EXTERNAL": "emailaddress", "PROXY_TLS": "STARTTLS", "PROXY_TLS_TRUSTCERTS": p.Trust,
		"PROXY_MASTER_USER": "master", "PROXY_MASTER_PASSWORD_FILE": secret}
	for i, level := range []string{"PEER", "REQUIREPEER"} {
		env["TLS_VERIFYPEER"] = level
		f := start(t, p, fmt.Sprintf("127.0.5.%d", i), p.env(env))
		for _, c := range []struct {
			name    string
			cfg     *tls.Config
			ok      bool
			account string
			ourOnly bool
		}{
			{"here", here, true, "here", false}, {"there", there, true, "there", false}, {"alternative name", alt,
				true, "here", true},
			{"none", none, level == "PEER", "", false}, {"expired", expired, false, "", false}, {"other CA", other,
				false, "", false},
		} {
			if couriertls && c.ourOnly {
				continue
			}
			t.Run(level+"/"+c.name, func(t *testing.T) {
				if !c.ok {
					refused(t, f.At("IMAPS"), c.cfg)
					refused(t, f.At("POP3S"), c.cfg)
					return
				}
				r, _ := dialTLS(t, f.At("IMAPS"), c.cfg)
				if c.account == "" {
					lacks(t, r, "EXTERNAL")
					r.MustPlay(t, "C: a AUTHENTICATE EXTERNAL =\nS~ a NO .*")
					return
				}
				if c.account == "here" && !p.mode.Launched() {
					// userdb tells no password in clear, which PROXY_LOCAL asks for.
					r.MustPlay(t, `
						S~ .*AUTH=EXTERNAL.*
						C: a AUTHENTICATE EXTERNAL =
						S= "+ \r\n"
						C:
						S~ a NO \[CONTACTADMIN\] .*`)
					return
				}
				inbox := map[string]string{"here": "2", "there": "1"}[c.account]
				r.MustPlay(t, `
					S~ .*AUTH=EXTERNAL.*
					C: a AUTHENTICATE EXTERNAL =
					S= "+ \r\n"
					C:
					S* a OK .*
					C: b SELECT INBOX
					S* \* `+inbox+` EXISTS
					S* b OK .*`)
				r, _ = upgrade(t, dialTCP(t, f.At("POP3")), pop3Upgrade, c.cfg)
				r.MustPlay(t, `
					C: CAPA
					S~ \+OK .*
					S~ SASL .*EXTERNAL
					S* \.
					C: AUTH EXTERNAL =
					S* \+OK .*
					C: STAT
					S~ \+OK `+inbox+` .*`)
			})
		}
	}
}

// lacks reads a line that must hold none of the words.
func lacks(t *testing.T, r *transcript.Runner, words ...string) {
	t.Helper()
	line, err := r.Buffered().ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range words {
		if strings.Contains(line, w) {
			t.Errorf("%q in %q", w, line)
		}
	}
}

// refused expects that TLS does not come about: in TLS 1.3 the client learns of it with its first read.
func refused(t *testing.T, addr string, cfg *tls.Config) {
	t.Helper()
	conn := tls.Client(harness.Connect(t, addr), cfg)
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	buf := make([]byte, 100)
	if n, err := conn.Read(buf); err == nil {
		t.Errorf("%s accepts the certificate: %q", addr, strings.TrimSpace(string(buf[:n])))
	}
}
