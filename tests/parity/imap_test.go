package parity

import (
	"maps"
	"regexp"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// Texts of Courier that return in the table.
const (
	imapError  = " NO Error in IMAP command received by server.\r\n"
	ourError   = " BAD Error in IMAP command received by server.\r\n"
	imapFailed = "NO Login failed."
)

// imapDifferences are all differences between imaplogin and imapd-proxy in these transcripts.
func imapDifferences() map[string]difference {
	return map[string]difference{
		"ready": {
			"Courier-IMAP ready. Copyright 1998-2019 Double Precision, Inc.  " +
				"See COPYING for distribution information.",
			"imapd-proxy ready.", "it is another program",
		},
		"failed": {
			imapFailed, "NO [AUTHENTICATIONFAILED] Login failed.", "RFC 5530: the password is wrong, not the server",
		},
		"error": {"NO Error in IMAP command received by server.", "BAD Error in IMAP command received by server.",
			"RFC 9051 section 7.1.3: syntax errors are BAD"},
		"utf8":     {" ENABLE UTF8=ACCEPT", "", "what the mailhosts can do, not this program: IMAP_UTF8"},
		"need_tls": {"NO STARTTLS required", "NO [PRIVACYREQUIRED] STARTTLS required", "RFC 5530"},
		"no_login": {imapFailed, "BAD Error in IMAP command received by server.",
			"RFC 9051 section 6.2.2: a cancelled AUTHENTICATE is BAD; nobody's password was wrong"},
		"mailhost_down": {imapFailed, "NO [UNAVAILABLE] Temporary problem, please try again later",
			"RFC 5530: the server is down, not the password wrong"},
		"literal_plus": {"a1" + imapError + "here" + imapError + "secret" + imapError, "a1 OK LOGIN Ok.\r\n",
			"RFC 7888: new clients send non-synchronising literals, whose text Courier takes for commands"},
		"literal_plus_glued": {"a1" + imapError + "here" + imapError, "a1" + ourError,
			"the same: what belongs to a command in error is not taken for a command"},
		"tilde": {
			"a1" + imapError, "a1 NO [AUTHENTICATIONFAILED] Login failed.\r\n",
			"clients send ~ } [ ] in passwords unquoted",
		},
		"star_tag": {
			"* OK NOOP completed", "* BAD Error in IMAP command received by server.",
			"our answer would be untagged data",
		},
		"plus_tag": {"+" + imapError, "*" + ourError, "our answer would be a continuation request"},
		"list_tag": {
			"(a) OK NOOP completed", "* BAD Error in IMAP command received by server.",
			"RFC 3501: a tag has no parentheses",
		},
		"quoted_word": {
			"a1 OK NOOP completed", "a1 BAD Error in IMAP command received by server.",
			"RFC 3501: a command name is an atom",
		},
		"nul": {
			"a1 OK NOOP completed", "a1 BAD Error in IMAP command received by server.", "RFC 3501: no NUL in commands",
		},
		"no_mechanism": {"a1 NO Login failed.\r\n*" + imapError, "a1" + ourError,
			"a command in error is answered once, and at once"},
		"authzid": {"a1 OK LOGIN Ok.", "a1 NO [AUTHENTICATIONFAILED] Login failed.",
			"RFC 4616: a client that asks to act for another user is not let in under its own name"},
		"line_break": {"a1 OK LOGIN Ok.", "a1 NO [AUTHENTICATIONFAILED] Login failed.",
			"a line break in a password; Courier's auth daemon reads its first line alone"},
		"id": {"a1" + imapError, "* ID (\"name\" \"imapd-proxy\")\r\na1 OK ID completed\r\n",
			"RFC 2971 section 3.1: ID, once advertised, is valid in every state"},
		"smap": {" SMAP1 KEYWORDS", "", "an experimental protocol of Courier's own, which we do not speak"},
		"long_literal": {
			"* NO [ALERT] IMAP command too long.\r\na1" + imapError,
			"* NO [ALERT] IMAP command too long.\r\na1" + ourError + "*" + ourError,
			"Courier answers only when another line has come, and swallows that",
		},
		"long_word": {strings.Repeat("x", 17000), strings.Repeat("x", 17000), "for the next one"},
		"long_atom": {"* BYE [ALERT] Fatal error: max atom size too small: \r\n",
			"* NO [ALERT] IMAP command too long.\r\na1" + ourError, "one bad command need not end the session"},
	}
}

// imapTolerated are the log lines that only one of them writes.
func imapTolerated() []*regexp.Regexp {
	return []*regexp.Regexp{
		// Ours at the end of a proxied session; Courier says nothing.
		regexp.MustCompile(`^INFO: LOGOUT, .*, mailhost=`),
		// Courier writes its own without saying about whom, so it is not found among the connection's lines.
		regexp.MustCompile(`^ERR: TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS`),
		// What a client said by ID.
		regexp.MustCompile(`^INFO: ID, `),
	}
}

// imapLogDiffers are those, and more for transcripts that are about a difference.
func imapLogDiffers(file string) []*regexp.Regexp {
	switch file {
	case "better":
		return append(imapTolerated(), regexp.MustCompile(`^INFO: (LOGIN|LOGOUT|DISCONNECTED)`),
			regexp.MustCompile(`^DEBUG: Disconnected`))
	case "no-logins":
		return append(imapTolerated(), regexp.MustCompile(`^INFO: LOGIN FAILED, method=`))
	case "under-tls":
		// Courier writes starttls=1 into the line of a proxied login after STARTTLS only, not behind
		// couriertls.
		return append(imapTolerated(), regexp.MustCompile(`^INFO: LOGIN, user=there`))
	}
	return imapTolerated()
}

// imapWorld starts authdaemond and a mailhost: here is here, there is on the mailhost, lost on one that
// does not exist.
func imapWorld(t *testing.T) {
	t.Helper()
	harness.Userdb(
		t,
		harness.Account{
			Name: "here", Password: "secret", CRAM: true, Home: harness.NewHome(t, harness.Message("one")),
		},
		harness.Account{
			Name: "there", Password: `se"c\ret`, Home: harness.NewHome(t, harness.Message("two")),
			Options: "mailhost=127.0.0.2",
		},
		harness.Account{Name: "lost", Password: "secret", Home: harness.NewHome(t), Options: "mailhost=127.0.0.99"},
		harness.Account{Name: "joe@example.com", Password: "secret", Home: harness.NewHome(t), CRAM: true},
	)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.CourierMailhost(t, "127.0.0.2")
}

// imapTwins starts both programs with the same settings.
func imapTwins(t *testing.T, m *harness.Mode, n int, env harness.Env) (courier, ours *twin) {
	t.Helper()
	env = maps.Clone(env)
	if _, ok := env["IMAP_CAPABILITY"]; !ok {
		env["IMAP_CAPABILITY"] = "IMAP4rev1 IDLE"
	}
	if _, ok := env["IMAP_STARTTLS"]; !ok {
		env["IMAP_STARTTLS"] = "NO"
	}
	return twins(t, m, n, harness.IMAP, env, imapDifferences())
}

func TestIMAP(t *testing.T) {
	harness.EachMode(t, testIMAP)
}

func testIMAP(t *testing.T, m *harness.Mode) {
	imapWorld(t)
	proxy := harness.Env{"IMAP_PROXY": "1", "IMAP_ACL": "0"}
	for n, c := range []struct {
		file string
		env  harness.Env
	}{
		{"commands", proxy},
		{"login", proxy},
		{"sasl", proxy},
		{"no-logins", proxy},
		{"better", proxy},
		{"bare", harness.Env{"IMAP_PROXY": "0", "IMAP_CAPABILITY": "", "IMAP_ACL": "no"}},
		{"capability", harness.Env{
			"IMAP_ACL": "1", "IMAP_KEYWORDS": "1", "IMAP_ID_FIELDS": "", "OUTBOX": ".Out",
			"IMAP_MOVE_EXPUNGE_TO_TRASH": "1", "SMAP_CAPABILITY": "SMAP1", "IMAP_CAPABILITY_TLS": "NOT-THIS",
		}},
		{"under-tls", harness.Env{
			"IMAP_PROXY": "1", "IMAP_ACL": "0", "IMAP_TLS": "1", "IMAP_TLS_REQUIRED": "1",
			"IMAP_CAPABILITY_TLS": "IMAP4rev1 AUTH=PLAIN", "TLS_CONNECTED_PROTOCOL": "TLSv1.3",
			"TLS_EXTERNAL": "commonName", "TLS_SUBJECT_COMMONNAME": "here",
		}},
		{"foreign", harness.Env{"IMAP_PROXY": "1", "IMAP_PROXY_FOREIGN": "1"}},
		{"domain", harness.Env{"DEFDOMAIN": "@example.com", "IMAP_ACL": "0"}},
		{"tls-required", harness.Env{"IMAP_TLS_REQUIRED": "1", "IMAP_ACL": "0", "IMAP_STARTTLS": "YES"}},
	} {
		if c.file == "under-tls" && !m.Launched() {
			continue // couriertls tells what it knows in the environment of one connection's process
		}
		t.Run(c.file, func(t *testing.T) {
			t.Parallel()
			courier, ours := imapTwins(t, m, 40+n, c.env)
			user := "here"
			if c.file == "domain" {
				user = "joe"
			}
			compare(t, courier, ours, "testdata/imap/"+c.file+".txt", crams(user, "secret"), imapLogDiffers(c.file))
		})
	}
}

// Started with the wrong arguments.
func TestIMAPArguments(t *testing.T) {
	for addr, program := range map[string]string{"127.0.60.1": harness.CourierIMAPLogin,
		"127.0.60.2": harness.PlainBin(t, "imapd-proxy")} {
		name := program[strings.LastIndexByte(program, '/')+1:]
		harness.Couriertcpd(t,
			harness.TCPD{Addr: addr, Port: 143, Config: "imapd", Program: []string{program, harness.CourierIMAPD}})
		harness.Dialogue(t, addr+":143", "S: * BYE "+name+" expected exactly two arguments.\nS-")
	}
}

// Without an authdaemond Courier ends the session; ours keeps it, says that it is not the client's fault, and
// writes no line that fail2ban counts.
func TestIMAPNoDaemon(t *testing.T) {
	harness.EachMode(t, testIMAPNoDaemon)
}

func testIMAPNoDaemon(t *testing.T, m *harness.Mode) {
	courier, ours := imapTwins(t, m, 61,
		harness.Env{"AUTHDAEMON_PROGRAM": "/bin/false", "AUTHDAEMON_SOCKET": "/run/courier/authdaemon/none"})
	harness.Dialogue(t, courier.addr,
		"S* .*\nC: a1 LOGIN here secret\nS: * BYE Temporary problem, please try again later\nS-")
	harness.Dialogue(t, ours.addr, `
		S* \* OK .*
		C: a1 LOGIN here secret
		S: a1 NO [UNAVAILABLE] Temporary problem, please try again later
		C: a2 LOGOUT
		S* a2 OK .*
		S-`)
	ours.log.Wait(t, `WARN: authentication error, ip=\[::ffff:127\.0\.0\.1\]`)
	if lines := ours.log.Find("LOGIN FAILED"); len(lines) > 0 {
		t.Errorf("log: %q", lines)
	}
}
