package tls

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// Proxied over TLS to Dovecot, with STARTTLS and on the TLS port, name and authority checked; also as the
// master user, which is how CRAM with userdb's hashed secrets gets through.
func TestDovecotOverTLS(t *testing.T) { ways(t, testDovecotOverTLS) }

func testDovecotOverTLS(t *testing.T, p *pki) {
	hosts(t)
	dovecot := startAccounts(t, p, dovecotName)
	secret := testcert.Write(t, p.Dir+"/master", []byte("master secret\n"))
	harness.Readable(t, secret)
	for i, env := range []harness.Env{
		{"PROXY_TLS": "STARTTLS"},
		{"PROXY_TLS": "YES"},
		{"PROXY_TLS": "YES", "PROXY_MASTER_USER": "master", "PROXY_MASTER_PASSWORD_FILE": secret},
	} {
		env["PROXY_TLS_TRUSTCERTS"] = p.Trust
		addr := fmt.Sprintf("127.0.2.%d", i+1)
		f := p.mode.Start(t, harness.ProxyOptions{Addr: addr, Env: p.env(env)})
		harness.Dialogue(t, addr+":143", `
			S* \* OK .*
			C: a LOGIN there pw+there
			S: a OK connected to proxy server.
			C: b SELECT INBOX
			S* \* 1 EXISTS
			S* b OK .*
			C: c LOGOUT
			S* c OK .*
			S-`).Conn.Close()
		harness.Dialogue(t, addr+":110", `
			S* \+OK .*
			C: USER there
			S* \+OK .*
			C: PASS pw+there
			S: +OK Connected to proxy server.
			C: STAT
			S~ \+OK 1 .*
			C: QUIT
			S* \+OK .*
			S-`).Conn.Close()
		for _, service := range []string{"imap-login", "pop3-login"} {
			dovecot.Log.Wait(t, service+": (Info: )?Login: user=<there>.*TLS")
		}
		if env["PROXY_MASTER_USER"] != "" {
			r := harness.Dial(t, addr+":143")
			r.Funcs = cramFuncs("there", "pw+there")
			r.MustPlay(t, `
				S* \* OK .*
				C: a AUTHENTICATE CRAM-MD5
				S~ \+ (?P<chal>\S+)
				C: ${cram}
				S: a OK connected to proxy server.
				C: b SELECT INBOX
				S* \* 1 EXISTS
				S* b OK .*`)
		}
		f.Ends("IMAP").Wait(t, "INFO: LOGOUT, user=there, .*mailhost="+dovecotName)
	}
}

// mailhost is a fake server that records everything the proxy sends it in clear text.
type mailhost struct {
	mu  sync.Mutex
	raw bytes.Buffer
}

func (m *mailhost) seen() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.raw.String()
}

type wiretap struct {
	net.Conn
	m *mailhost
}

func (w wiretap) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.m.mu.Lock()
	w.m.raw.Write(p[:n])
	w.m.mu.Unlock()
	return n, err
}

// script is what a bad mailhost does, in IMAP and in POP3 words.
type script struct {
	greeting [2]string
	starttls [2]string      // its answer; "" = TLS begins after the usual yes
	implicit bool           // TLS from the first byte
	pair     *testcert.Pair // nil: no TLS at all
}

// serve plays script s for protocol p (0 IMAP, 1 POP3). Every login is welcome: the test sees it.
func (m *mailhost) serve(s script, p int) func(net.Conn) error {
	return func(conn net.Conn) error {
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		var c net.Conn = wiretap{conn, m}
		upgrade := func() {
			c = tls.Server(
				c,
				&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{s.pair.DER}, PrivateKey: s.pair.Key}}},
			)
		}
		if s.implicit && s.pair != nil {
			upgrade()
		}
		fmt.Fprintf(c, "%s\r\n", s.greeting[p])
		in := bufio.NewReader(c)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return nil
			}
			tag, _, _ := strings.Cut(line, " ")
			switch upper := strings.ToUpper(line); {
			case strings.Contains(upper, "STARTTLS") || strings.HasPrefix(upper, "STLS"):
				if s.starttls[p] != "" {
					fmt.Fprintf(c, "%s\r\n", strings.ReplaceAll(s.starttls[p], "TAG", tag))
					continue
				}
				fmt.Fprintf(c, "%s\r\n", []string{tag + " OK go", "+OK go"}[p])
				if s.pair == nil {
					continue
				}
				upgrade()
				in = bufio.NewReader(c)
			case p == 0:
				fmt.Fprintf(c, "%s OK done\r\n", tag)
			default:
				fmt.Fprintf(c, "+OK done\r\n")
			}
		}
	}
}

// Every mailhost that cannot be trusted is refused, temporarily, with the reason in the log and without a
// word of the login in clear text.
func TestMailhostRefused(t *testing.T) { frontEnds(t, testMailhostRefused) }

func testMailhostRefused(t *testing.T, p *pki) {
	good := [2]string{"* OK hello", "+OK hello"}
	cases := []struct {
		name, tls, why string
		script
	}{
		{
			"wrong name",
			"STARTTLS",
			"step=tls.*certificate is valid for other.example",
			script{good, [2]string{}, false, p.CA.Issue(t, testcert.Spec{Name: "other.example"})},
		},
		{
			"expired",
			"STARTTLS",
			"step=tls.*expired",
			script{good, [2]string{}, false, p.CA.Issue(t, testcert.Spec{Name: "bad1.example", Age: time.Hour})},
		},
		{
			"unknown CA",
			"STARTTLS",
			"step=tls.*unknown authority",
			script{good, [2]string{}, false, testcert.CA(t, "Other").Issue(t, testcert.Spec{Name: "bad2.example"})},
		},
		{
			"wrong name, TLS port",
			"YES",
			"step=tls.*certificate is valid for other.example",
			script{good, [2]string{}, true, p.CA.Issue(t, testcert.Spec{Name: "other.example"})},
		},
		{
			"unknown CA, TLS port",
			"YES",
			"step=tls.*unknown authority",
			script{good, [2]string{}, true, testcert.CA(t, "Other").Issue(t, testcert.Spec{Name: "bad4.example"})},
		},
		{
			"clear text on TLS port",
			"YES",
			"step=tls.*(first record|handshake)",
			script{good, [2]string{}, true, nil},
		},
		{
			"no STARTTLS",
			"STARTTLS",
			"step=tls",
			script{good, [2]string{"TAG BAD unknown command", "-ERR unknown command"}, false, nil},
		},
		{
			"STARTTLS stripped",
			"STARTTLS",
			"step=tls",
			script{
				[2]string{"* OK [CAPABILITY IMAP4rev1] hello", "+OK hello"},
				[2]string{"TAG NO not now", "-ERR no"},
				false,
				nil,
			},
		},
		{"yes but no TLS", "STARTTLS", "step=tls", script{good, [2]string{}, false, nil}},
		{
			"injected answer",
			"STARTTLS",
			"step=tls",
			script{
				good,
				[2]string{"TAG OK go\r\n* OK sly\r\nTAG OK logged in", "+OK go\r\n+OK sly\r\n+OK slyer"},
				false,
				nil,
			},
		},
		{
			"PREAUTH",
			"STARTTLS",
			"PREAUTH",
			script{
				[2]string{"* PREAUTH welcome", ""},
				[2]string{},
				false,
				p.CA.Issue(t, testcert.Spec{Name: "bad10.example"}),
			},
		},
	}
	accounts := make([]harness.Account, len(cases))
	for i := range cases {
		accounts[i] = harness.Account{
			Name:     fmt.Sprintf("u%d", i),
			Password: "sesame0pen",
			Options:  fmt.Sprintf("mailhost=bad%d.example", i),
		}
		names[fmt.Sprintf("127.0.4.%d", i+1)] = fmt.Sprintf("bad%d.example", i)
	}
	hosts(t)
	harness.Userdb(t, accounts...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	proxies := map[string]*harness.Proxy{}
	fronts := map[string]string{"STARTTLS": "127.0.2.1", "YES": "127.0.2.2"}
	for mode, addr := range fronts {
		env := p.env(harness.Env{"PROXY_TLS": mode, "PROXY_TLS_TRUSTCERTS": p.Trust, "PROXY_LOGIN_TIMEOUT": "6"})
		proxies[mode] = p.mode.Start(t, harness.ProxyOptions{Addr: addr, Env: env})
	}
	for i, c := range cases {
		addr := fmt.Sprintf("127.0.4.%d", i+1)
		for proto, port := range map[int][2]string{0: {"143", "993"}, 1: {"110", "995"}} {
			if c.greeting[proto] == "" {
				continue
			}
			m := &mailhost{}
			listen := addr + ":" + port[0]
			if c.tls == "YES" {
				listen = addr + ":" + port[1]
			}
			f := harness.NewFakeMailhost(t, listen, m.serve(c.script, proto))
			t.Run(c.name+"/"+port[0], func(t *testing.T) {
				t.Parallel()
				log := proxies[c.tls].Log("IMAP")
				if proto == 0 {
					harness.Dialogue(t, fronts[c.tls]+":143", fmt.Sprintf(`
						S* \* OK .*
						C: a LOGIN u%d sesame0pen
						S~ a NO \[UNAVAILABLE\] .*
						C: b LOGOUT
						S* b OK .*`, i))
				} else {
					log = proxies[c.tls].Log("POP3")
					harness.Dialogue(t, fronts[c.tls]+":110", fmt.Sprintf(`
						S* \+OK .*
						C: USER u%d
						S* \+OK .*
						C: PASS sesame0pen
						S~ -ERR \[SYS/TEMP\] .*
						C: QUIT
						S* \+OK .*`, i))
				}
				if f.Connections() == 0 {
					t.Error("never asked")
				}
				lines := log.WaitN(t, 1, fmt.Sprintf("user=u%d\\b", i))
				if len(log.Find(fmt.Sprintf("WARN: .*bad%d.example.*%s", i, c.why))) != 1 &&
					len(log.Find(fmt.Sprintf("WARN: .*bad%d.example.*step=(tls|greeting).*%s", i, c.why))) != 1 {
					t.Errorf("log: %q, want one line with %q", lines, c.why)
				}
				for _, secret := range []string{"sesame0pen", "LOGIN", "PASS", "AUTH", "USER"} {
					if seen := m.seen(); strings.Contains(strings.ToUpper(seen), strings.ToUpper(secret)) {
						t.Errorf("%q went over the wire in clear text: %q", secret, seen)
					}
				}
			})
		}
	}
}
