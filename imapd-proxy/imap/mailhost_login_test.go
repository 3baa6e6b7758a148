package imap

import (
	"testing"

	"mailproxy/internal/launch"
	"mailproxy/internal/mailhost"
)

// What a mailhost says of itself decides how it is sent a password, or that it is sent none.
func TestWaysToLogIn(t *testing.T) {
	const (
		forward = "PROXY_FORWARD_CLIENT=ID"
		own     = `"x-originating-ip" "192.0.2.7" "x-originating-port" "4711" ` +
			`"x-connected-ip" "2001:db8::1" "x-connected-port" "143"`
		// What these servers have, or a part of it.
		cyrus    = "IMAP4rev1 LITERAL+ ID ENABLE LOGINDISABLED AUTH=PLAIN SASL-IR"
		dovecot  = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+"
		exchange = "UIDPLUS ID CHILDREN IDLE NAMESPACE LITERAL+"
		gmail    = "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1"
	)
	runLogins(t, []loginCase{
		{name: "asked for its list", server: `
			S: * OK ready
			C: C0 CAPABILITY
			S: * CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN
			S: C0 OK done
			C: a1 AUTHENTICATE PLAIN
			S: + 
			C: AGFubkBleGFtcGxlLmNvbQBzZWMgcmV0
			S: a1 OK fine`},
		{name: "asked, and does not know", server: `
			S: * OK ready
			C: C0 CAPABILITY
			S: C0 BAD what?
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine`},
		{name: "asked, and hangs up", server: `
			S: * OK ready
			C: C0 CAPABILITY`,
			step: "capability", cause: "EOF"},
		{name: "LOGINDISABLED, STARTTLS", server: `
			S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready`,
			step: "login", cause: "PROXY_TLS=STARTTLS"},
		{name: "LOGINDISABLED, STARTTLS, whatever AUTH= says", server: `
			S: * OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR LOGINDISABLED] ready`,
			step: "login", cause: "PROXY_TLS=STARTTLS"},
		{name: "LOGINDISABLED and nothing else", server: `
			S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=GSSAPI] ready`,
			step: "login", cause: "neither LOGIN (LOGINDISABLED) nor AUTH=PLAIN on this connection, which PROXY_TLS"},
		{name: "LOGINDISABLED and nothing else, under TLS", change: underTLS, server: `
			S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=GSSAPI] ready`,
			step: "login", cause: "neither LOGIN (LOGINDISABLED) nor AUTH=PLAIN"},
		{name: "LOGINDISABLED, but PLAIN", server: `
			S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN SASL-IR] ready
			C: a1 AUTHENTICATE PLAIN AGFubkBleGFtcGxlLmNvbQBzZWMgcmV0
			S: a1 OK fine`},
		{name: "LOGINDISABLED, but PLAIN, under TLS", change: underTLS, server: `
			S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED AUTH=PLAIN SASL-IR] ready
			C: a1 AUTHENTICATE PLAIN AGFubkBleGFtcGxlLmNvbQBzZWMgcmV0
			S: a1 OK fine`},
		{name: "Dovecot", server: `
			S: * OK [CAPABILITY ` + dovecot + ` AUTH=PLAIN] Dovecot (Debian) ready.
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT] Logged in`},
		{name: "Dovecot, auth_allow_cleartext=no", server: `
			S: * OK [CAPABILITY ` + dovecot + ` STARTTLS LOGINDISABLED] Dovecot ready.`,
			step: "login", cause: "PROXY_TLS=STARTTLS"},
		{name: "Exchange", server: `
			S: * OK The Microsoft Exchange IMAP4 service is ready.
			C: C0 CAPABILITY
			S: * CAPABILITY IMAP4 IMAP4rev1 AUTH=NTLM AUTH=GSSAPI AUTH=PLAIN STARTTLS LOGINDISABLED ` + exchange + `
			S: C0 OK CAPABILITY completed.`,
			step: "login", cause: "PROXY_TLS=STARTTLS"},
		{name: "Exchange, under TLS", change: underTLS, server: `
			S: * OK The Microsoft Exchange IMAP4 service is ready.
			C: C0 CAPABILITY
			S: * CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN ` + exchange + `
			S: C0 OK CAPABILITY completed.
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK LOGIN completed.`},
		{name: "Cyrus, allowplaintext: no, under TLS", change: underTLS, server: `
			S: * OK [CAPABILITY ` + cyrus + `] cyrus Cyrus IMAP server ready
			C: a1 AUTHENTICATE PLAIN AGFubkBleGFtcGxlLmNvbQBzZWMgcmV0
			S: a1 OK Success (tls protection)`},
		{name: "Courier", server: `
			S: * OK [CAPABILITY IMAP4rev1 UIDPLUS CHILDREN NAMESPACE SORT QUOTA IDLE STARTTLS] Courier-IMAP ready.
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK LOGIN Ok.`},
		{name: "like Gmail, under TLS", change: underTLS, server: `
			S: * OK Gimap ready for requests from 192.0.2.7 x1mb1
			C: C0 CAPABILITY
			S: * CAPABILITY ` + gmail + ` AUTH=XOAUTH2 AUTH=PLAIN SASL-IR
			S: C0 OK Thats all she wrote! x1mb1
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: * CAPABILITY IMAP4rev1 UNSELECT IDLE UTF8=ACCEPT
			S: a1 OK ann@example.com authenticated (Success)`},
		{name: "master login", change: master, server: `
			S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready
			C: a1 AUTHENTICATE PLAIN YW5uQGV4YW1wbGUuY29tAG1hc3RlcgBzM2NyM3Q=
			S: a1 OK fine`},
		{name: "master login without SASL-IR", change: master, server: `
			S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready
			C: a1 AUTHENTICATE PLAIN
			S: + 
			C: YW5uQGV4YW1wbGUuY29tAG1hc3RlcgBzM2NyM3Q=
			S: * OK [ALERT] hi
			S: a1 OK fine`,
			reply: "* OK [ALERT] hi\r\na1 OK connected to proxy server.\r\n"},
		{name: "master login unknown", change: master, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 AUTHENTICATE PLAIN
			S: a1 NO no such mechanism`,
			step: "login", cause: "no such mechanism"},
		{name: "master login, not in the list: the password waits", change: master, server: `
			S: * OK [CAPABILITY IMAP4rev1 SASL-IR] ready
			C: a1 AUTHENTICATE PLAIN
			S: a1 NO [AUTHENTICATIONFAILED] no`,
			step: "login", cause: "does not take AUTHENTICATE PLAIN"},
		{name: "master login, with a reason", change: master, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 AUTHENTICATE PLAIN
			S: a1 NO [UNAVAILABLE] no`,
			rejected: true, step: "login", cause: "UNAVAILABLE"},
		{name: "master login accepted unseen", change: master, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 AUTHENTICATE PLAIN
			S: a1 OK come in`,
			step: "login", cause: "come in"},
		{name: "master login, control character", change: func(m *mailhost.Conn) { master(m); m.Password = "a\tb" },
			server: `
			S: * OK [CAPABILITY IMAP4rev1] ready`,
			step: "login", cause: "malformed"},
		{name: "forwarded client", setting: forward, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: I1 ID (` + own + `)
			S: * ID ("name" "Dovecot")
			S: I1 OK fine
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine`},
		{name: "forwarded client, not understood", setting: forward, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C~ I1 ID .*
			S: I1 BAD what?
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine`},
		{name: "forwarded client, unknown", setting: forward, change: func(m *mailhost.Conn) {
			m.Client = launch.Peer{RemoteIP: `"); drop`, RemotePort: "N/A"}
		}, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine`},
		{name: "another proxy of ours", change: func(m *mailhost.Conn) { m.Hops = 3 }, server: `
			S: * OK [CAPABILITY IMAP4rev1] imapd-proxy ready.
			C: I1 ID ("x-proxy-ttl" "3")
			S: I1 NO Error in IMAP command received by server.
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine`},
		{name: "forwarded client and hops", setting: forward, change: func(m *mailhost.Conn) { m.Hops = 4 },
			server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C~ I1 ID .* "x-connected-port" "143" "x-proxy-ttl" "4"\)
			S: I1 OK fine
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine`},
		{name: "forwarded client, closes", setting: forward, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C~ I1 ID .*`,
			step: "forward", cause: "PROXY_FORWARD_CLIENT=ID"},
	})
}

// Where the mailhost verifies the password, what it has said before it saw it is no answer; what is no answer
// at all is read as ever.
func TestAnswersBeforeTheQuestion(t *testing.T) {
	plain := func(m *mailhost.Conn) { m.Unverified, m.TLS = true, true }
	literal := func(m *mailhost.Conn) { m.Unverified, m.Password = true, "grün" }
	runLogins(t, []loginCase{
		{name: "after the greeting", change: plain, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			S: a1 OK come in`,
			step: "login", cause: `answers before it is asked: "a1 OK come in"`},
		{name: "after its list", change: plain, server: `
			S: * OK ready
			C: C0 CAPABILITY
			S: * CAPABILITY IMAP4rev1
			S: C0 OK done
			S: a1 OK come in`,
			step: "login", cause: "before it is asked"},
		{name: "after the continuation", change: plain, server: `
			S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN] ready
			C: a1 AUTHENTICATE PLAIN
			S: +
			S: a1 OK come in`,
			step: "login", cause: "before it is asked"},
		{name: "after the continuation of a literal", change: literal, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" {5}
			S: + go on
			S: a1 OK come in`,
			step: "login", cause: "before it is asked"},
		{name: "goodbye after the greeting", change: plain, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			S: * BYE overloaded`,
			step: "login", cause: "overloaded"},
		{name: "a no before the question is none either", change: plain, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			S: a1 NO who are you?`,
			step: "login", cause: "before it is asked"},
		{name: "what is not tagged", change: plain, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			S: * OK [ALERT] maintenance at noon
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: * OK [ALERT] now
			S: a1 OK fine`,
			reply: "* OK [ALERT] maintenance at noon\r\n* OK [ALERT] now\r\na1 OK connected to proxy server.\r\n"},
		{name: "what follows the answer is the client's", change: plain, setting: "IMAP_PROXY_FOREIGN=2", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine
			S: * 1 EXISTS
			C: C1 CAPABILITY
			S: * CAPABILITY IMAP4rev1 X
			S: C1 OK done`,
			reply: "* 1 EXISTS\r\na1 OK [CAPABILITY IMAP4rev1 X] connected to proxy server.\r\n"},
	})
}
