package tls

import (
	"crypto/tls"
	"encoding/base64"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// tokenOf is a message in base64 that is as long as this, which is a multiple of 4.
func tokenOf(length int) string {
	const begin, end = "n,a=ann,\x01auth=Bearer ", "\x01\x01"
	return base64.StdEncoding.EncodeToString(
		[]byte(begin + strings.Repeat("x", length/4*3-len(begin)-len(end)) + end))
}

// Lines with tokens may have 64 KiB, others not, and they go to the mailhost on a line of their own where the
// command would be longer than it must take.
func TestLongTokens(t *testing.T) { frontEnds(t, testLongTokens) }

func testLongTokens(t *testing.T, p *pki) {
	const addr, longest = "127.0.1.1", 65536
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	front := startFront(t, p, addr, p.env(harness.Env{
		"IMAP_CAPABILITY_TLS": "IMAP4rev1 AUTH=OAUTHBEARER AUTH=PLAIN SASL-IR",
		"POP3AUTH_TLS":        "OAUTHBEARER PLAIN", "LOGIN_FAIL_DELAY": "0", "DEBUG_LOGIN": "1",
	}))
	const inIMAP, inPOP3 = "S: a OK connected to proxy server.", "S: +OK Connected to proxy server."
	const more = "S= \"+ \\r\\n\"\n"
	for _, c := range []struct {
		name     string
		protocol string
		said     string // by the client
		token    string // that the mailhost is shown; "" = it is not asked
	}{
		{"IMAP, on a line of its own", "IMAP", "C: a AUTHENTICATE OAUTHBEARER\n" + more + "C: " + tokenOf(longest) +
			"\n" + inIMAP, tokenOf(longest)},
		{"IMAP, in the command", "IMAP", "C: a AUTHENTICATE OAUTHBEARER " + tokenOf(longest-40) + "\n" + inIMAP,
			tokenOf(longest - 40)},
		{"IMAP, too long", "IMAP", "C: a AUTHENTICATE OAUTHBEARER\n" + more + "C: " + tokenOf(longest+4) +
			"\nS* a BAD .*\nC: b NOOP\nS~ b OK .*", ""},
		{"IMAP, PLAIN", "IMAP", "C: a AUTHENTICATE PLAIN\n" + more + "C: " + tokenOf(20_000) +
			"\nS* a BAD .*\nC: b NOOP\nS~ b OK .*", ""},
		{"IMAP, LOGIN", "IMAP", "C: a LOGIN OAUTHBEARER " + tokenOf(20_000) +
			"\nS* a BAD .*\nC: b NOOP\nS~ b OK .*", ""},
		{"POP3, on a line of its own", "POP3", "C: AUTH OAUTHBEARER\n" + more + "C: " + tokenOf(longest) +
			"\n" + inPOP3, tokenOf(longest)},
		{"POP3, in the command", "POP3", "C: AUTH OAUTHBEARER " + tokenOf(longest-40) + "\n" + inPOP3,
			tokenOf(longest - 40)},
		{"POP3, too long", "POP3", "C: AUTH OAUTHBEARER\n" + more + "C: " + tokenOf(longest+4) +
			"\nS~ -ERR .*\nC: NOOP\nS~ -ERR .*", ""},
		{"POP3, PLAIN", "POP3", "C: AUTH PLAIN\n" + more + "C: " + tokenOf(20_000) +
			"\nS~ -ERR .*\nC: NOOP\nS~ -ERR .*",
			""},
		{"POP3, PASS", "POP3", "C: USER ann\nS~ \\+OK .*\nC: PASS " + tokenOf(20_000) +
			"\nS~ -ERR .*\nC: NOOP\nS~ -ERR .*",
			""},
	} {
		t.Run(c.name, func(t *testing.T) {
			// 255 octets of a command are what a POP3 mailhost takes, 8,000 what an IMAP one does.
			host, port, begin, script := "127.0.31.1", ":143", "S* \\* OK .*\n", "S: * OK [CAPABILITY IMAP4rev1 "+
				"AUTH=OAUTHBEARER SASL-IR] hi\nC: a AUTHENTICATE OAUTHBEARER\nS: +\nC: "+c.token+"\nS: a OK in"
			if c.protocol == "POP3" {
				port, begin, script = ":110", "S* \\+OK .*\n", "S: +OK hi\nC: CAPA\nS: +OK\nS: SASL OAUTHBEARER\nS: .\n"+
					"C: AUTH OAUTHBEARER\n"+more+"C: "+c.token+"\nS: +OK in"
			}
			harness.Userdb(t, harness.Account{Name: "ann", Password: "secret", Options: "mailhost=" + host})
			mailhost := harness.NewFakeMailhost(t, host+port, harness.Scripted(t, 0, script))
			r, conn := dialTLS(t, front.At(c.protocol+"S"), &tls.Config{InsecureSkipVerify: true})
			defer conn.Close()
			r.MustPlay(t, begin+c.said)
			if n := mailhost.Connections(); n != map[bool]int{true: 1}[c.token != ""] {
				t.Errorf("the mailhost was asked %d times", n)
			}
		})
	}
	for _, port := range []string{"IMAPS", "POP3S"} {
		for _, part := range []string{tokenOf(80)[40:72], strings.Repeat("x", 40)} {
			if strings.Contains(front.Log(port).String(), part) {
				t.Errorf("a part of a token is in the log of %s", port)
			}
		}
	}
}
