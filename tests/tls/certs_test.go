package tls

import (
	"crypto/tls"
	"fmt"
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
)

func itoa(n int) string { return strconv.Itoa(n) }

// Certificates by server name and by address, from our TLS and from couriertls: the same files are chosen.
func TestCertificateFiles(t *testing.T) { ways(t, testCertificateFiles) }

func testCertificateFiles(t *testing.T, p *pki) {
	for suffix, name := range map[string]string{"www.example.com": "www.example.com", "127.0.1.3": "third.example", "127.0.1.4": "third.example"} {
		p.file(t, "proxy.pem."+suffix, testcert.Spec{Name: name})
	}
	want := map[string]string{"": "proxy.example", "www.example.com": "www.example.com", "other.example.com": "proxy.example"}
	third := map[string]string{"": "third.example", "www.example.com": "www.example.com", "other.example.com": "third.example"}
	for _, f := range []struct {
		addr    string
		courier bool
		want    map[string]string
	}{{"127.0.1.1", false, want}, {"127.0.1.2", true, want}, {"127.0.1.3", false, third}, {"127.0.1.4", true, third}} {
		if f.courier && p.relayd != nil {
			continue // couriertls makes the same choice without it
		}
		startFront(t, p, f.addr, p.env(nil), f.courier)
		for sni, name := range f.want {
			_, conn := dialTLS(t, f.addr+":993", &tls.Config{ServerName: sni, InsecureSkipVerify: true})
			if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != name {
				t.Errorf("%s (couriertls %v), name %q: certificate of %s, want %s", f.addr, f.courier, sni, got, name)
			}
			_, conn = upgrade(t, dialTCP(t, f.addr+":110"), pop3Upgrade, &tls.Config{ServerName: sni, InsecureSkipVerify: true})
			if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != name {
				t.Errorf("%s STLS, name %q: certificate of %s, want %s", f.addr, sni, got, name)
			}
		}
	}
}

// A new certificate counts from the next connection; one that does not load takes STARTTLS off the list and is named in the log.
func TestCertificateChanges(t *testing.T) { ways(t, testCertificateChanges) }

func testCertificateChanges(t *testing.T, p *pki) {
	f := startFront(t, p, "127.0.1.1", p.env(nil), false)
	name := func() string {
		_, conn := upgrade(t, dialTCP(t, f.addr+":143"), imapUpgrade, &tls.Config{InsecureSkipVerify: true})
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := name(); got != "proxy.example" {
		t.Error(got)
	}
	p.file(t, "proxy.pem", testcert.Spec{Name: "new.example"})
	if got := name(); got != "new.example" {
		t.Error(got)
	}
	os.Chmod(p.cert, 0o644)
	name()
	f.imap.Log.Wait(t, "WARN: .*proxy.pem holds a private key and can be read by everybody")
	testcert.Write(t, p.cert, []byte("nonsense"))
	r := harness.Dial(t, f.addr+":143")
	lacks(t, r, "STARTTLS")
	r.MustPlay(t, "C: a STARTTLS\nS: a BAD Error in IMAP command received by server.\nC: b NOOP\nS: b OK NOOP completed")
	f.imap.Log.WaitN(t, 1, "ERR: STARTTLS is not offered: .*proxy.pem")
	harness.Dialogue(t, f.addr+":110", "S* \\+OK .*\nC: STLS\nS~ -ERR .*\nC: QUIT\nS* \\+OK .*")
	f.pop3.Log.WaitN(t, 1, "ERR: STLS is not offered: .*proxy.pem")
	raw := dialTCP(t, f.addr+":993")
	if err := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
		t.Error("a handshake without a certificate")
	}
	f.imaps.Log.WaitN(t, 1, "TLS FAILED.*proxy.pem")
}

// TLS required: nobody logs in before it, everybody after it; capabilities change.
func TestRequired(t *testing.T) { ways(t, testRequired) }

func testRequired(t *testing.T, p *pki) {
	startAccounts(t, p, dovecotAddr)
	f := startFront(t, p, "127.0.1.1", p.env(harness.Env{"IMAP_TLS_REQUIRED": "1", "POP3_TLS_REQUIRED": "1", "IMAP_CAPABILITY": "IMAP4rev1",
		"IMAP_CAPABILITY_TLS": "IMAP4rev1 AUTH=PLAIN", "POP3AUTH": "", "POP3AUTH_TLS": "PLAIN"}), false)
	any := &tls.Config{InsecureSkipVerify: true}
	r, _ := upgrade(t, dialTCP(t, f.addr+":143"), "S~ \\* OK \\[CAPABILITY IMAP4rev1 .*STARTTLS LOGINDISABLED.*\nC: a LOGIN here \"pw here\"\nS: a NO [PRIVACYREQUIRED] STARTTLS required\nC: t STARTTLS\nS* t OK .*", any)
	r.MustPlay(t, "C: b CAPABILITY")
	lacks(t, r, "STARTTLS", "LOGINDISABLED")
	r.MustPlay(t, "S* b OK .*\nC: s STARTTLS\nS: s BAD Error in IMAP command received by server.\nC: c LOGIN here \"pw here\"\nS* c OK .*\nC: d LOGOUT\nS* d OK .*")
	r, _ = upgrade(t, dialTCP(t, f.addr+":110"), "S* \\+OK .*\nC: USER here\nS: -ERR TLS required to log in.\nC: STLS\nS* \\+OK .*", any)
	r.MustPlay(t, "C: CAPA\nS* \\+OK .*\nS: SASL PLAIN\nS: TOP\nS* \\.\nC: USER here\nS* \\+OK .*\nC: PASS pw here\nS* \\+OK .*\nC: QUIT\nS* \\+OK .*")
}

// Client certificates by TLS_VERIFYPEER, and EXTERNAL, for local and proxied accounts, under our TLS and couriertls.
func TestClientCertificates(t *testing.T) { ways(t, testClientCertificates) }

func testClientCertificates(t *testing.T, p *pki) {
	hosts(t)
	startAccounts(t, p, dovecotName)
	secret := testcert.Write(t, filepath.Join(p.dir, "master"), []byte("master secret\n"))
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
	here, there := user(p.ca, testcert.Spec{Name: "x", Email: "here"}), user(p.ca, testcert.Spec{Name: "x", Email: "there"})
	alt := user(p.ca, testcert.Spec{Name: "x", AltMail: "here"})
	none, expired := user(nil, testcert.Spec{}), user(p.ca, testcert.Spec{Name: "x", Email: "here", Age: time.Hour})
	other := user(testcert.CA(t, "Other"), testcert.Spec{Name: "x", Email: "here"})
	env := harness.Env{"TLS_EXTERNAL": "emailaddress", "PROXY_TLS": "STARTTLS", "PROXY_TLS_TRUSTCERTS": p.trust,
		"PROXY_MASTER_USER": "master", "PROXY_MASTER_PASSWORD_FILE": secret}
	for i, level := range []string{"PEER", "REQUIREPEER"} {
		env["TLS_VERIFYPEER"] = level
		own := startFront(t, p, fmt.Sprintf("127.0.5.%d", i), p.env(env), false)
		courier := startFront(t, p, fmt.Sprintf("127.0.6.%d", i), p.env(env), true)
		for _, c := range []struct {
			name    string
			cfg     *tls.Config
			ok      bool
			account string
			ourOnly bool
		}{
			{"here", here, true, "here", false}, {"there", there, true, "there", false}, {"alternative name", alt, true, "here", true},
			{"none", none, level == "PEER", "", false}, {"expired", expired, false, "", false}, {"other CA", other, false, "", false},
		} {
			for _, f := range []*front{own, courier} {
				if f == courier && (c.ourOnly || p.relayd != nil) {
					continue
				}
				t.Run(level+"/"+c.name+"/"+f.addr, func(t *testing.T) {
					if !c.ok {
						refused(t, f.addr+":993", c.cfg)
						refused(t, f.addr+":995", c.cfg)
						return
					}
					r, _ := dialTLS(t, f.addr+":993", c.cfg)
					if c.account == "" {
						lacks(t, r, "EXTERNAL")
						r.MustPlay(t, "C: a AUTHENTICATE EXTERNAL =\nS~ a NO .*")
						return
					}
					inbox := map[string]string{"here": "2", "there": "1"}[c.account]
					r.MustPlay(t, "S~ .*AUTH=EXTERNAL.*\nC: a AUTHENTICATE EXTERNAL =\nS= \"+ \\r\\n\"\nC:\nS* a OK .*\nC: b SELECT INBOX\nS* \\* "+inbox+" EXISTS\nS* b OK .*")
					r, _ = upgrade(t, dialTCP(t, f.addr+":110"), pop3Upgrade, c.cfg)
					r.MustPlay(t, "C: CAPA\nS~ \\+OK .*\nS~ SASL .*EXTERNAL\nS* \\.\nC: AUTH EXTERNAL =\nS* \\+OK .*\nC: STAT\nS~ \\+OK "+inbox+" .*")
				})
			}
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
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, cfg)
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 100)
	if n, err := conn.Read(buf); err == nil {
		t.Errorf("%s accepts the certificate: %q", addr, strings.TrimSpace(string(buf[:n])))
	}
}
