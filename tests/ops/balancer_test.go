package ops

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// haproxy runs HAProxy with a configuration and waits until it listens on addr.
func haproxy(t *testing.T, config, addr string, env ...string) *harness.Process {
	t.Helper()
	return haproxyAs(t, "balancer1", config, addr, env...)
}

// haproxyAs does so on the balancer of that name among its peers.
func haproxyAs(t *testing.T, name, config, addr string, env ...string) *harness.Process {
	t.Helper()
	path := filepath.Join(harness.Dir(t), "haproxy.cfg")
	harness.WriteFile(t, path, config, 0o644)
	cmd := exec.Command("/usr/sbin/haproxy", "-db", "-L", name, "-f", path)
	cmd.Env = append(os.Environ(), env...)
	p := harness.Start(t, cmd)
	p.WaitListen(t, addr)
	return p
}

// front runs a front end that believes the balancer.
func front(t *testing.T, protocol, ip string, env harness.Env) *harness.Process {
	t.Helper()
	env["IMAP_PROXY"], env["POP3_PROXY"], env["HAPROXY"], env["HAPROXY_ALLOW"] = "1", "1", "1", balancer
	if protocol == "imap" {
		return harness.IMAP.UnderCourier(t, ip, harness.PlainBin(t, "imapd-proxy"), env)
	}
	return harness.POP3.UnderCourier(t, ip, harness.PlainBin(t, "pop3d-proxy"), env)
}

// one is a balancer for one protocol and one server, with the server's options left open.
const one = `
defaults
	mode tcp
	timeout connect 5s
	timeout client 1m
	timeout server 1m
	timeout check 20s
listen one
	bind %s
	source %s
	option tcp-check
	tcp-check expect rstring (OK)
	server one %s %s
`

// logins are a failed and a good login, as the same client.
var logins = map[string]struct{ bad, good string }{
	"imap": {
		"S* \\* OK .*\nC: a LOGIN user0 wrong\nS~ a NO \\[AUTHENTICATIONFAILED\\].*\nC: b LOGOUT\nS* b OK .*\nS-",
		"S* \\* OK .*\nC: a LOGIN user0 user0\nS* a OK .*\nC: b LOGOUT\nS* b OK .*\nS-",
	},
	"pop3": {
		"S* \\+OK .*\nC: USER user0\nS* \\+OK .*\nC: PASS wrong\nS~ -ERR \\[AUTH\\].*\nC: QUIT\nS* \\+OK.*\nS-",
		"S* \\+OK .*\nC: USER user0\nS* \\+OK .*\nC: PASS user0\nS* \\+OK.*\nC: QUIT\nS* \\+OK.*\nS-",
	},
}

// TestRealClientBehindHAProxy: the one who connects to HAProxy is the client in every line of the log, for
// version 1 and 2 of the protocol; the balancer's health checks are nobody; others need no header.
func TestRealClientBehindHAProxy(t *testing.T) {
	there, elsewhere := accounts(1)
	harness.Userdb(t, elsewhere...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.Dovecot(t, harness.DovecotOptions{Addr: mailhost, Accounts: there})
	port := map[string]int{"imap": 143, "pop3": 110}
	n := 0
	for _, protocol := range []string{"imap", "pop3"} {
		for _, send := range []string{"send-proxy", "send-proxy-v2"} {
			n++
			ip := fmt.Sprintf("127.0.1.%d", n)
			t.Run(protocol+"/"+send, func(t *testing.T) {
				t.Parallel()
				server := fmt.Sprintf("%s:%d", ip, port[protocol])
				listen := fmt.Sprintf("%s:%d", balancer, 1000*port[protocol]/100+len(send)+2000)
				proxy := front(t, protocol, ip, harness.Env{"LOGIN_FAIL_DELAY": "1"})
				haproxy(t, fmt.Sprintf(one, listen, balancer, server, send+" check check-send-proxy inter 200ms"), listen)
				play(t, listen, logins[protocol].bad)
				play(t, listen, logins[protocol].good)
				proxy.Log.WaitN(t, 1, `^INFO: LOGIN, user=user0, ip=\[::ffff:127\.0\.0\.77\], port=\[\d+\], protocol=`)
				proxy.Log.WaitN(t, 1, `LOGIN FAILED, user=user0, ip=\[::ffff:127\.0\.0\.77\]`)
				proxy.Log.Wait(t, `Disconnected, ip=\[::ffff:127\.0\.0\.10\]`) // a health check
				play(t, server, logins[protocol].good)                         // past the balancer
				if lines := proxy.Log.Find(`^(WARN|ERR|CRIT)|LOGIN FAILED.*127\.0\.0\.10\]`); len(lines) > 0 {
					t.Errorf("health checks left traces: %q", lines)
				}
			})
		}
	}
}

// TestTLSEndsAtHAProxy: a client that is encrypted as far as the balancer may log in where TLS is required,
// and the log says so.
func TestTLSEndsAtHAProxy(t *testing.T) {
	there, elsewhere := accounts(1)
	harness.Userdb(t, elsewhere...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.Dovecot(t, harness.DovecotOptions{Addr: mailhost, Accounts: there})
	pem := filepath.Join(harness.Dir(t), "balancer.pem")
	harness.Run(t, "", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
		"-nodes",
		"-subj", "/CN=balancer", "-days", "2", "-keyout", pem+".key", "-out", pem)
	harness.WriteFile(t, pem, harness.ReadFile(t, pem)+harness.ReadFile(t, pem+".key"), 0o600)
	listen := balancer + ":993"
	proxy := front(t, "imap", "127.0.2.1", harness.Env{"IMAP_TLS_REQUIRED": "1", "LOGIN_FAIL_DELAY": "1"})
	haproxy(t, fmt.Sprintf(one, listen+" ssl crt "+pem, balancer, "127.0.2.1:143", "send-proxy-v2-ssl"), listen)
	out := harness.Run(t, "a LOGIN user0 user0\r\nb LOGOUT\r\n", "openssl", "s_client", "-quiet", "-ign_eof",
		"-connect", listen)
	if !strings.Contains(out, "a OK") {
		t.Errorf("no login over TLS:\n%s", out)
	}
	proxy.Log.Wait(t, `^INFO: LOGIN, user=user0, .*starttls=1`)
	// Without TLS in front, the same proxy refuses.
	play(t, "127.0.2.1:143", "S* \\* OK .*\nC: a LOGIN user0 user0\nS~ a NO .*\nC: b LOGOUT\nS* b OK .*\nS-")
}

// TestMissingHeader: a balancer that forgot its header is told apart from a client, in the log.
func TestMissingHeader(t *testing.T) {
	harness.Userdb(t)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	listen := balancer + ":1143"
	proxy := front(t, "imap", "127.0.2.2", harness.Env{"LOGIN_TIMEOUT": "3"})
	haproxy(t, fmt.Sprintf(one, listen, balancer, "127.0.2.2:143", ""), listen)
	play(t, listen, "C: a LOGIN user0 user0\nS-")
	proxy.Log.WaitN(t, 1, `^WARN: HAPROXY=1, but no PROXY header from 127\.0\.0\.10:\d+: `)
}

// TestBareChecks: a balancer that only looks whether somebody listens leaves no warning, however often and
// however it hangs up, on a port with and on one without TLS, and whether the proxy believes its headers or
// not.
func TestBareChecks(t *testing.T) {
	harness.Userdb(t)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	pair := testcert.Write(t, filepath.Join(harness.Dir(t), "pair.pem"), testcert.CA(t, "x").PEM(t))
	const checks = 10
	for ip, p := range map[string]*harness.Process{
		"127.0.2.5": front(t, "imap", "127.0.2.5", harness.Env{}),
		"127.0.2.6": front(t, "imap", "127.0.2.6", harness.Env{"IMAP_TLS": "1", "TLS_CERTFILE": pair}),
		"127.0.2.7": harness.IMAP.UnderCourier(t, "127.0.2.7", harness.PlainBin(t, "imapd-proxy"),
			harness.Env{"IMAP_PROXY": "1"}),
	} {
		for _, reset := range []bool{true, false} {
			for range checks {
				conn := harness.ConnectFrom(t, balancer, ip+":143")
				if reset {
					if err := conn.SetLinger(0); err != nil {
						t.Fatal(err)
					}
				}
				conn.Close()
			}
		}
		// Of those that were reset at once, couriertcpd never hears.
		if !harness.Eventually(func() bool { return len(p.Log.Find(`Disconnected.*127\.0\.0\.10\]`)) >= checks }) {
			t.Errorf("%s: %d checks leave\n%s", ip, checks, p.Log)
		}
		if lines := p.Log.Find(`^(NOTICE|WARN|ERR|CRIT)`); len(lines) > 0 {
			t.Errorf("%s: checks leave %q", ip, lines)
		}
	}
}

// TestThrottle: the answer to a wrong password waits longer each time, whichever process gives it, and an
// address may not have too many connections that have not logged in.
func TestThrottle(t *testing.T) {
	harness.Userdb(t, harness.Account{Name: "user0", Password: "user0"})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	table := filepath.Join(harness.Dir(t), "throttle")
	addr := "127.0.2.4:143"
	proxy := harness.IMAP.UnderCourier(t, "127.0.2.4", harness.PlainBin(t, "imapd-proxy"), harness.Env{
		"THROTTLE_FILE": table, "MAXUNAUTHPERIP": "2", "LOGIN_FAIL_DELAY": "1", "LOGIN_FAIL_DELAY_MAX": "3",
	})
	var took []time.Duration
	for range 3 {
		began := time.Now()
		play(t, addr, logins["imap"].bad)
		took = append(took, time.Since(began))
	}
	for i, d := range took {
		if least := time.Duration(i+1) * time.Second; d < least {
			t.Errorf("failure %d was answered after %v, at least %v were expected", i+1, d, least)
		}
	}
	play(t, addr, "S* \\* OK .*")
	play(t, addr, "S* \\* OK .*")
	play(t, addr, "S~ \\* BYE .*\nS-")
	proxy.Log.WaitN(t, 1, regexp.QuoteMeta(
		"NOTICE: Maximum of 2 connections without a login reached, ip=[::ffff:"+client+"]"))
}
