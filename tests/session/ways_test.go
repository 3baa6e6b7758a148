package session

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"

	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// way is a mailhost as other people's servers present themselves, and how it is logged in to with the
// password "sec ret".
type way struct {
	name, protocol string
	tls            string // PROXY_TLS: how the proxy is told to reach it
	clear, under   string // the mailhost's side in clear text and then under TLS; empty: there is no such part
	cause          string // in the log line about the login that is not made; empty: it is made
}

// USER becomes the account's name, and PLAIN the SASL response. What a mailhost is not to be sent is not in
// its script: "C-" is the end without another word.
var waysToLogIn = []way{
	{name: "Cyrus, allowplaintext: no", protocol: "IMAP", tls: "NO", clear: `
		S: * OK [CAPABILITY IMAP4rev1 LITERAL+ ID ENABLE STARTTLS LOGINDISABLED] mail Cyrus IMAP 3.6.1 server ready
		C-`, cause: "mailhost takes no password before STARTTLS (LOGINDISABLED): PROXY_TLS=STARTTLS"},
	{name: "Cyrus, allowplaintext: no, STARTTLS", protocol: "IMAP", tls: "STARTTLS", clear: `
		S: * OK [CAPABILITY IMAP4rev1 LITERAL+ ID ENABLE STARTTLS LOGINDISABLED] mail Cyrus IMAP 3.6.1 server ready
		C: S1 STARTTLS
		S: S1 OK Begin TLS negotiation now`, under: `
		C: C0 CAPABILITY
		S: * CAPABILITY IMAP4rev1 LITERAL+ ID ENABLE AUTH=PLAIN SASL-IR ACL QUOTA
		S: C0 OK Completed
		C: a LOGIN "USER" "sec ret"
		S: a OK [CAPABILITY IMAP4rev1 LITERAL+ ID ENABLE ACL QUOTA] User logged in SESSIONID=<mail-1>`},
	{name: "Cyrus, PLAIN only, TLS port", protocol: "IMAP", tls: "YES", under: `
		S: * OK [CAPABILITY IMAP4rev1 LITERAL+ ID ENABLE LOGINDISABLED AUTH=PLAIN SASL-IR] Cyrus IMAP ready
		C: a AUTHENTICATE PLAIN PLAIN
		S: a OK Success (tls protection) SESSIONID=<mail-1>`},
	{name: "Exchange", protocol: "IMAP", tls: "NO", clear: `
		S: * OK The Microsoft Exchange IMAP4 service is ready.
		C: C0 CAPABILITY
		S: * CAPABILITY IMAP4 IMAP4rev1 AUTH=NTLM AUTH=GSSAPI AUTH=PLAIN STARTTLS LOGINDISABLED UIDPLUS ID IDLE
		S: C0 OK CAPABILITY completed.
		C-`, cause: "mailhost takes no password before STARTTLS (LOGINDISABLED): PROXY_TLS=STARTTLS"},
	{name: "Exchange, STARTTLS", protocol: "IMAP", tls: "STARTTLS", clear: `
		S: * OK The Microsoft Exchange IMAP4 service is ready.
		C: S1 STARTTLS
		S: S1 OK Begin TLS negotiation now.`, under: `
		C: C0 CAPABILITY
		S: * CAPABILITY IMAP4 IMAP4rev1 AUTH=NTLM AUTH=GSSAPI AUTH=PLAIN UIDPLUS ID CHILDREN IDLE NAMESPACE LITERAL+
		S: C0 OK CAPABILITY completed.
		C: a LOGIN "USER" "sec ret"
		S: a OK LOGIN completed.`},
	{name: "Courier", protocol: "IMAP", tls: "NO", clear: `
		S: * OK [CAPABILITY IMAP4rev1 UIDPLUS NAMESPACE IDLE STARTTLS ENABLE UTF8=ACCEPT] Courier-IMAP ready.
		C: a LOGIN "USER" "sec ret"
		S: a OK LOGIN Ok.`},
	{name: "Courier, TLS required", protocol: "IMAP", tls: "NO", clear: `
		S: * OK [CAPABILITY IMAP4rev1 IDLE AUTH=PLAIN STARTTLS LOGINDISABLED] Courier-IMAP ready.
		C-`, cause: "mailhost takes no password before STARTTLS (LOGINDISABLED): PROXY_TLS=STARTTLS"},
	{name: "Courier, STARTTLS", protocol: "IMAP", tls: "STARTTLS", clear: `
		S: * OK [CAPABILITY IMAP4rev1 IDLE STARTTLS LOGINDISABLED] Courier-IMAP ready.
		C: S1 STARTTLS
		S: S1 OK Begin SSL/TLS negotiation now.`, under: `
		C: C0 CAPABILITY
		S: * CAPABILITY IMAP4rev1 IDLE AUTH=PLAIN
		S: C0 OK CAPABILITY completed
		C: a LOGIN "USER" "sec ret"
		S: a OK LOGIN Ok.`},
	{name: "like Gmail", protocol: "IMAP", tls: "YES", under: `
		S: * OK Gimap ready for requests from 192.0.2.7 x1mb1
		C: C0 CAPABILITY
		S: * CAPABILITY IMAP4rev1 UNSELECT IDLE NAMESPACE ID XLIST X-GM-EXT-1 AUTH=XOAUTH2 AUTH=PLAIN SASL-IR
		S: C0 OK Thats all she wrote! x1mb1
		C: a LOGIN "USER" "sec ret"
		S: * CAPABILITY IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID UTF8=ACCEPT
		S: a OK USER authenticated (Success)`},
	{name: "like Gmail, for its own clients", protocol: "IMAP", tls: "YES", under: `
		S: * OK Gimap ready for requests from 192.0.2.7 x1mb1
		C: C0 CAPABILITY
		S: * CAPABILITY IMAP4rev1 IDLE ID LOGINDISABLED AUTH=XOAUTH2 SASL-IR
		S: C0 OK Thats all she wrote! x1mb1
		C-`, cause: "mailhost takes neither LOGIN (LOGINDISABLED) nor AUTH=PLAIN"},
	{name: "Cyrus, allowplaintext: no", protocol: "POP3", tls: "NO", clear: `
		S: +OK mail Cyrus POP3 3.6.1 server ready <1234.5678@mail>
		C: USER USER
		S: -ERR [AUTH] USER command only available under a layer
		C: CAPA
		S: +OK List of capabilities follows
		S: STLS
		S: TOP
		S: UIDL
		S: .
		C-`, cause: "mailhost takes no password before STLS: PROXY_TLS=STARTTLS"},
	{name: "Cyrus, allowplaintext: no, STLS", protocol: "POP3", tls: "STARTTLS", clear: `
		S: +OK mail Cyrus POP3 3.6.1 server ready <1234.5678@mail>
		C: STLS
		S: +OK Begin TLS negotiation now`, under: `
		C: USER USER
		S: +OK Name is a valid mailbox
		C: PASS sec ret
		S: +OK Mailbox locked and ready SESSIONID=<mail-1>`},
	{name: "Cyrus, PLAIN only, TLS port", protocol: "POP3", tls: "YES", under: `
		S: +OK mail Cyrus POP3 3.6.1 server ready
		C: USER USER
		S: -ERR [AUTH] USER command only available under a layer
		C: CAPA
		S: +OK List of capabilities follows
		S: SASL PLAIN
		S: UIDL
		S: .
		C: AUTH PLAIN PLAIN
		S: +OK Mailbox locked and ready`},
	{name: "Exchange", protocol: "POP3", tls: "NO", clear: `
		S: +OK The Microsoft Exchange POP3 service is ready.
		C: USER USER
		S: -ERR Command is not valid in this state.
		C: CAPA
		S: +OK
		S: TOP
		S: UIDL
		S: SASL NTLM GSSAPI PLAIN
		S: STLS
		S: .
		C-`, cause: "mailhost takes no password before STLS: PROXY_TLS=STARTTLS"},
	{name: "Exchange, STLS", protocol: "POP3", tls: "STARTTLS", clear: `
		S: +OK The Microsoft Exchange POP3 service is ready.
		C: STLS
		S: +OK Begin TLS negotiation.`, under: `
		C: USER USER
		S: +OK
		C: PASS sec ret
		S: +OK User successfully logged on.`},
	{name: "Courier", protocol: "POP3", tls: "NO", clear: `
		S: +OK Hello there. <1234.5678@localhost.localdomain>
		C: USER USER
		S: +OK Password required.
		C: PASS sec ret
		S: +OK logged in.`},
	{name: "Courier, TLS required", protocol: "POP3", tls: "NO", clear: `
		S: +OK Hello there.
		C: USER USER
		S: -ERR TLS required to log in.
		C: CAPA
		S: +OK Here's what I can do:
		S: STLS
		S: TOP
		S: UIDL
		S: .
		C-`, cause: "mailhost takes no password before STLS: PROXY_TLS=STARTTLS"},
	{name: "Courier, STLS", protocol: "POP3", tls: "STARTTLS", clear: `
		S: +OK Hello there.
		C: STLS
		S: +OK Begin SSL/TLS negotiation now.`, under: `
		C: USER USER
		S: +OK Password required.
		C: PASS sec ret
		S: +OK logged in.`},
	{name: "like Gmail", protocol: "POP3", tls: "YES", under: `
		S: +OK Gpop ready for requests from 192.0.2.7 x1mb1
		C: USER USER
		S: +OK send PASS
		C: PASS sec ret
		S: +OK Welcome.`},
	{name: "like Gmail, for its own clients", protocol: "POP3", tls: "YES", under: `
		S: +OK Gpop ready for requests from 192.0.2.7 x1mb1
		C: USER USER
		S: -ERR bad command
		C: CAPA
		S: +OK Capability list follows
		S: SASL XOAUTH2 OAUTHBEARER
		S: TOP
		S: .
		C-`, cause: "mailhost takes neither USER nor AUTH PLAIN"},
}

// What a mailhost says of itself decides how it is sent a password, or that it is sent none, over TLS too.
func TestWaysToLogIn(t *testing.T) {
	pki := harness.NewPKI(t)
	var accounts []harness.Account
	var hosts []string
	for i := range waysToLogIn {
		host := fmt.Sprintf("127.0.31.%d", i+1)
		hosts = append(hosts, host)
		accounts = append(accounts,
			harness.Account{Name: wayUser(i), Password: "sec ret", Options: "mailhost=" + host})
	}
	pair := pki.CA.Issue(t, testcert.Spec{Name: "mailhosts", Names: hosts})
	certificate := tls.Certificate{Certificate: [][]byte{pair.DER}, PrivateKey: pair.Key}
	harness.Userdb(t, accounts...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	for i, w := range waysToLogIn {
		w.mailhost(t, hosts[i], wayUser(i), &tls.Config{Certificates: []tls.Certificate{certificate}})
	}
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		proxies := map[string]*harness.Proxy{}
		for i, setting := range []string{"NO", "STARTTLS", "YES"} {
			proxies[setting] = m.Start(t, harness.ProxyOptions{Addr: fmt.Sprintf("127.0.32.%d", i+1),
				Env: harness.Env{"PROXY_TLS": setting, "PROXY_TLS_TRUSTCERTS": pki.Trust}})
		}
		for i, w := range waysToLogIn {
			t.Run(w.protocol+"/"+w.name, func(t *testing.T) { w.logIn(t, proxies[w.tls], hosts[i], wayUser(i)) })
		}
	})
}

func wayUser(i int) string { return fmt.Sprintf("ann%d", i) }

// mailhost serves connections as the script says; a client that is in is answered once more.
func (w way) mailhost(t *testing.T, host, user string, config *tls.Config) {
	port := harness.ProtocolOf(w.protocol).Port
	if w.tls == "YES" {
		port = harness.ProtocolOf(w.protocol).TLSPort
	}
	fill := strings.NewReplacer("C: USER USER", "C: USER "+user, "USER", user, "PLAIN PLAIN", "PLAIN "+
		base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00sec ret")))
	play := func(script string) func(net.Conn) error {
		if script == "" {
			return func(net.Conn) error { return nil }
		}
		return harness.Scripted(t, 0, fill.Replace(script))
	}
	clear, under, more := play(w.clear), play(w.under), play("C: ping\nS: pong")
	harness.NewFakeMailhost(t, fmt.Sprintf("%s:%d", host, port), func(conn net.Conn) error {
		if err := clear(conn); err != nil {
			return err
		}
		if w.under != "" {
			conn = tls.Server(conn, config)
			if err := under(conn); err != nil {
				return err
			}
		}
		if w.cause != "" {
			return nil
		}
		return more(conn)
	})
}

func (w way) logIn(t *testing.T, p *harness.Proxy, host, user string) {
	text := "S* \\* OK .*\nC: a LOGIN " + user + " \"sec ret\"\n"
	in, out := "S* a OK .*\n", "S~ a NO \\[UNAVAILABLE\\] .*\nC: b LOGOUT\nS* b OK .*\nS-"
	if w.protocol == "POP3" {
		text = "S* \\+OK .*\nC: USER " + user + "\nS~ \\+OK .*\nC: PASS sec ret\n"
		in, out = "S~ \\+OK.*\n", "S~ -ERR \\[SYS/TEMP\\] .*\nC: QUIT\nS* \\+OK.*\nS-"
	}
	log := p.Log(w.protocol)
	if w.cause == "" {
		harness.Dialogue(t, p.At(w.protocol), text+in+"C: ping\nS: pong\nS-").Conn.Close()
		p.Ends(w.protocol).Wait(t, "^INFO: LOGOUT, user="+user+", .*, mailhost="+host+",")
		return
	}
	harness.Dialogue(t, p.At(w.protocol), text+out).Conn.Close()
	lines := log.WaitN(t, 1, "user="+user+":")
	if want := "WARN: Login to " + host + " failed, "; !strings.HasPrefix(lines[0], want) ||
		!strings.Contains(lines[0], w.cause) {
		t.Errorf("log %q, want %q", lines[0], w.cause)
	}
}
