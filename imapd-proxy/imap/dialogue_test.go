package imap

import (
	"encoding/base64"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/local"
	"mailproxy/tests/fronttest"
	"mailproxy/tests/transcript"
)

// settings are those that the files in testdata are about.
func settings(file string) map[string]string {
	switch file {
	case "settings":
		return map[string]string{
			"IMAP_CAPABILITY": "IMAP4rev1 IDLE", "IMAP_CAPABILITY_TLS": "NOT THIS",
			"IMAP_ACL": "1", "IMAP_KEYWORDS": "1",
			"IMAP_UTF8": "yes", "IMAP_ID_FIELDS": "3", "OUTBOX": ".Out", "IMAP_MOVE_EXPUNGE_TO_TRASH": "1",
			"SMAP_CAPABILITY": "SMAP1",
		}
	case "scram":
		return map[string]string{"IMAP_CAPABILITY": scramCapability}
	case "tokens":
		return map[string]string{"IMAP_TLS": "1", "TLS_CONNECTED_PROTOCOL": "TLSv1.3",
			"TLS_SUBJECT_EMAILADDRESS": "ann", "IMAP_CAPABILITY": "IMAP4rev1 AUTH=OAUTHBEARER AUTH=XOAUTH2 SASL-IR"}
	case "tls-required":
		return map[string]string{
			"IMAP_TLS_REQUIRED": "1", "IMAP_CAPABILITY": "IMAP4rev1 AUTH=PLAIN SASL-IR IDLE AUTH=LOGIN",
		}
	case "under-tls":
		return map[string]string{
			"IMAP_TLS": "1", "TLS_CONNECTED_PROTOCOL": "TLSv1.3", "TLS_SUBJECT_EMAILADDRESS": "ann",
			"IMAP_TLS_REQUIRED": "1",
			"IMAP_CAPABILITY":   "NOT-THIS", "IMAP_CAPABILITY_TLS": "IMAP4rev1 AUTH=PLAIN starttls imap4REV1 " +
				"LOGINDISABLED AUTH=GSSAPI auth=plain", "IMAP_STARTTLS": "YES",
		}
	}
	return nil
}

func TestTranscripts(t *testing.T) {
	for _, file := range []string{
		"commands", "login", "sasl", "scram", "settings", "tls-required", "tokens", "under-tls",
	} {
		front().Transcripts(t, file, settings(file))
	}
}

func TestLog(t *testing.T) {
	const where = fronttest.Where
	front().Logs(t, []fronttest.LogCase{
		{Name: "logout", Text: "S* .*\nC: a LOGOUT\nS* a OK .*\nS-",
			Log: []string{"INFO: LOGOUT, " + where + ", rcvd=10, sent=112"}},
		{Name: "closed", Text: "S* .*\nC-\nS-",
			Log: []string{"DEBUG: Disconnected, " + where + ", time=0"}},
		{Name: "wrong password", Text: "S* .*\nC: a LOGIN ann x\nS* a NO .*\nC-\nS-",
			Log: []string{"INFO: LOGIN FAILED, user=ann, " + where, "DEBUG: Disconnected, " + where + ", time=0"}},
		{Name: "wrong SASL", Text: "S* .*\nC: a AUTHENTICATE PLAIN AGFubgB3cm9uZw==\nS* a NO .*\nC-\nS-",
			Log: []string{"INFO: LOGIN FAILED, method=PLAIN, " + where, "DEBUG: Disconnected, " + where + ", time=0"}},
		{Name: "no such mechanism", Text: "S* .*\nC: a AUTHENTICATE x\nS* a NO .*\nC-\nS-",
			Log: []string{"DEBUG: Disconnected, " + where + ", time=0"}},
		{Name: "cancelled", Text: "S* .*\nC: a AUTHENTICATE PLAIN\nS: + \nC: *\nS* a BAD .*\nC-\nS-",
			Log: []string{"DEBUG: Disconnected, " + where + ", time=0"}},
		{Name: "too long", Text: "S* .*\nC: a LOGIN ann " + strings.Repeat("x", 4097) +
			"\nS: a NO [LIMIT] A limit does not allow this login, please try again later\nC-\nS-",
			Log: []string{"INFO: LOGIN REFUSED, method=LOGIN, " + where +
				": name or password too long, at most 1024 and 4096 bytes are taken",
				"DEBUG: Disconnected, " + where + ", time=0"}},
		{Name: "a session after a wrong password", Text: "S* .*\nC: a LOGIN ann x\n" +
			strings.Repeat("C: b SELECT INBOX\n", 20) +
			"S* a NO .*\n" + strings.Repeat("S: b BAD Error in IMAP command received by server.\n", 20) + "C-\nS-",
			Log: []string{"INFO: LOGIN FAILED, user=ann, " + where, "DEBUG: Disconnected, " + where + ", time=0"}},
		{Name: "trouble", Text: "S* .*\nC: a LOGIN carl x\nS* a NO .*\nC-\nS-",
			Log: []string{"WARN: authentication error, " + where + ": database down", "DEBUG: Disconnected, " + where +
				", time=0"}},
		{Name: "too many errors", Text: "S* .*\n" + strings.Repeat("C: x y\n", 10) + "S* .*VIOLATIONS: \nS-",
			Log: []string{"ERR: TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS, " + where}, Status: 1},
		{Name: "here", Text: "S* .*\nC: a LOGIN ann \"sec ret\"\nS* .*local.*\nC-\nS* .*end\nS-",
			Log: []string{"WARN: proxy enabled, but no proxy host defined for ann"}, Status: -1},
	})
}

// What a client says about itself by ID is logged, and cannot pass for fields of the line.
func TestLogID(t *testing.T) {
	s := front().Begin(t, fronttest.Options{Settings: map[string]string{"IMAP_ID_FIELDS": ""}})
	transcript.Play(t, s.Conn,
		"S* .*\nC: a ID (\"name\" \"x, ip=[192.0.2.1]\" \"os\" NIL)\nS: * ID (\"name\" \"imapd-proxy\")\n"+
			"S* a OK .*\nC-\nS-")
	s.Wait(t)
	const want = `INFO: ID, ip=[::ffff:192.0.2.7], port=[4711], name=x\054 ip\075\133192.0.2.1\135, os=NIL`
	if !strings.Contains(s.Log.String(), want+"\n") {
		t.Errorf("log\n%swant %s", s.Log, want)
	}
}

// What the mailhost sends along with its OK reaches the client, in order, and its capabilities as they are
// asked for.
func TestMailhostTalksAtOnce(t *testing.T) {
	for foreign, want := range map[string]string{
		"0": "a OK connected to proxy server.", "2": "a OK [CAPABILITY X Y] connected to proxy server.",
	} {
		s := front().Begin(t, fronttest.Options{Settings: map[string]string{"IMAP_PROXY_FOREIGN": foreign},
			Mailhost: func(conn *net.UnixConn) {
				io.WriteString(conn, "* OK [CAPABILITY IMAP4rev1]\r\n* CAPABILITY X Y\r\na OK in\r\n* unasked\r\nmore")
				conn.CloseWrite()
				io.Copy(io.Discard, conn)
			}})
		transcript.Play(t, s.Conn, "S* .*\nC: a LOGIN bob geheim\nS: "+want+"\nS: * unasked\nS= \"more\"\nS-\nC-")
		if status := s.Wait(t); status != 0 {
			t.Errorf("status %d\n%s", status, s.Log)
		}
	}
}

// A process that is neither root nor another user for good serves nobody any more.
func TestHalfChanged(t *testing.T) {
	s := front().Begin(t, fronttest.Options{DropRoot: local.ErrChanged})
	transcript.Play(t, s.Conn,
		"S* .*\nC: a LOGIN bob geheim\nS: * BYE Temporary problem, please try again later\nS-")
	if status := s.Wait(t); status != 1 ||
		!strings.Contains(s.Log.String(), "ERR: giving up root rights: ") {
		t.Errorf("status %d, log\n%s", status, s.Log)
	}
}

func TestTimeIsUp(t *testing.T) {
	for name, said := range map[string]string{
		"silent": "", "in a line": "a LOGIN an", "in a literal": "a LOGIN {5+}\r\nan",
		"in SASL": "a AUTHENTICATE PLAIN\r\n", "busy": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := front().Begin(t, fronttest.Options{Settings: map[string]string{"LOGIN_TIMEOUT": "1",
				"LOGIN_MAX_COMMANDS": "1000000"}})
			io.WriteString(s.Conn, said)
			if name == "busy" {
				go s.Repeat("a NOOP\r\n")
			}
			said, _ := io.ReadAll(s.Conn)
			if status := s.Wait(t); status != 1 {
				t.Errorf("status %d", status)
			}
			if !strings.HasSuffix(string(said), "* BYE Too much time without a login\r\n") ||
				!tookTime.MatchString(s.Log.String()) {
				t.Errorf("said %q, log\n%s", said, s.Log)
			}
		})
	}
}

// SIGTERM ends a session that waits for the client, and one that waits for a mailhost.
func TestStop(t *testing.T) {
	for name, text := range map[string]string{"idle": "S* .*",
		"mailhost": "S* .*\nC: a LOGIN bob geheim\n.. 100ms"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := front().Begin(t, fronttest.Options{Mailhost: func(conn *net.UnixConn) { io.Copy(io.Discard, conn) }})
			r := transcript.Play(t, s.Conn, text)
			s.Stop()
			r.MustPlay(t, "S: * BYE Courier-IMAP server shut down by signal.\nS-")
			if status := s.Wait(t); status != 0 ||
				!strings.Contains(s.Log.String(), "NOTICE: Disconnected during shutdown by signal, ip=") {
				t.Errorf("status %d, log\n%s", status, s.Log)
			}
		})
	}
}

// A client that sends whatever it likes gets bounded answers, and memory does not grow with what it sends.
func TestHostile(t *testing.T) {
	t.Run("long lines", func(t *testing.T) {
		t.Parallel()
		s := front().Begin(t, fronttest.Options{})
		megabyte := strings.Repeat("A", 1<<20)
		go io.WriteString(s.Conn, "a1 LOGIN "+megabyte+" x\r\n"+
			"a2 "+megabyte+"\r\n"+
			megabyte+"\r\n"+
			"a3 LOGIN ann \""+megabyte+"\"\r\n"+
			"a4 AUTHENTICATE PLAIN "+megabyte+"\r\n"+
			"a5 AUTHENTICATE LOGIN\r\n"+megabyte+"\r\n"+
			"a6 AUTHENTICATE LOGIN "+strings.Repeat("A", 12000)+"\r\nYQ==\r\n"+
			"a7 LOGOUT\r\n")
		transcript.Play(t, s.Conn, `
			S* \* OK .*
			S: * NO [ALERT] IMAP command too long.
			S: a1 BAD Error in IMAP command received by server.
			S: * NO [ALERT] IMAP command too long.
			S: a2 BAD Error in IMAP command received by server.
			S: * BAD Error in IMAP command received by server.
			S: * NO [ALERT] IMAP command too long.
			S: a3 BAD Error in IMAP command received by server.
			S: * NO [ALERT] IMAP command too long.
			S: a4 BAD Error in IMAP command received by server.
			S: + VXNlcm5hbWU6
			S: a5 BAD Error in IMAP command received by server.
			S: + UGFzc3dvcmQ6
			S: a6 NO [AUTHENTICATIONFAILED] Login failed.
			S* a7 OK .*
			S-`)
	})
	t.Run("does not read", func(t *testing.T) {
		t.Parallel()
		s := front().Begin(t, fronttest.Options{Settings: map[string]string{"LOGIN_TIMEOUT": "1",
			"LOGIN_MAX_COMMANDS": "1000000"}})
		go io.WriteString(s.Conn, strings.Repeat("a CAPABILITY\r\n", 50000))
		s.Wait(t)
	})
}

// FuzzSession lets a client say anything that is no account's password. It is answered by whole lines, the
// session ends with the client's last word, and no line of the log is the client's.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"a CAPABILITY\r\na LOGOUT\r\n", "a LOGIN zoe x\r\n", "a AUTHENTICATE PLAIN\r\n*\r\n", "a AUTHENTICATE " +
			"LOGIN\r\n\r\n\r\n",
		"a AUTHENTICATE PLAIN =\r\n", "a AUTHENTICATE CRAM-MD5\r\nYSBi\r\n", "a LOGIN {3}\r\na\rb {1+}\r\n\x00\n",
		"a STARTTLS\r\na LOGIN carl \"\xc3\xa4\"\r\n", "a ID (\"x\" NIL)\r\n", "a X {5+}\r\nabcde\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		if len(said) > 20_000 || strings.Contains(string(said), "sec ret") {
			return
		}
		s := front().Begin(t, fronttest.Options{Settings: map[string]string{"IMAP_PROXY": "0",
			"IMAP_ID_FIELDS": "0"}})
		answer := s.Say(t, said)
		if !strings.HasPrefix(answer, "* OK [CAPABILITY") || !strings.HasSuffix(answer, "\r\n") {
			t.Errorf("answer %q", answer)
		}
	})
}

// Good commands and bad ones, right and wrong: one too many ends the session, and the log names the setting.
func TestTooManyCommands(t *testing.T) {
	s := front().Begin(t, fronttest.Options{Settings: map[string]string{"LOGIN_MAX_COMMANDS": "4"}})
	transcript.Play(t, s.Conn,
		"S* .*\nC: a NOOP\nS* .*\nC: x y\nS* .*\nC: =\nS* .*\nC: a LOGIN ann x\nS* a NO.*\n"+
			"C: a NOOP\nS: * BYE [ALERT] Fatal error: too many commands without a login\nS-")
	const want = "NOTICE: TOO MANY COMMANDS WITHOUT A LOGIN (LOGIN_MAX_COMMANDS=4), " + fronttest.Where + "\n"
	if status := s.Wait(t); status != 1 || !strings.Contains(s.Log.String(), want) {
		t.Errorf("status %d, log\n%s", status, s.Log)
	}
}

// Of many IDs the first is logged, and not all of it.
func TestLogIDOnce(t *testing.T) {
	s := front().Begin(t, fronttest.Options{Settings: map[string]string{"IMAP_ID_FIELDS": ""}})
	field := `("name" "` + strings.Repeat("n", 5000) + `")`
	transcript.Play(t, s.Conn, "S* .*\n"+strings.Repeat("C: a ID "+field+"\nS* .*\nS* a OK .*\n", 20)+"C-\nS-")
	s.Wait(t)
	if log := s.Log.String(); strings.Count(log, "ID, ip=") != 1 || len(log) > 600 {
		t.Errorf("%d bytes of log:\n%.1000s", len(log), log)
	}
}

// A client that is sent away reads the last reply, whatever it has sent after its last command.
func TestLastReply(t *testing.T) {
	front().LastReply(t, strings.Repeat("x\r\n", maxErrors), "* BYE "+textViolations)
}

// A password that is too long is refused by every command alike, and nobody is asked.
func TestLongPassword(t *testing.T) {
	long := strings.Repeat("p", sasl.MaxPassword+1)
	plain := base64.StdEncoding.EncodeToString([]byte("\x00ann\x00" + long))
	s := front().Begin(t, fronttest.Options{})
	transcript.Play(t, s.Conn, "S* .*\nC: a LOGIN ann "+long+"\nS* a NO .LIMIT.*\n"+
		"C: b AUTHENTICATE PLAIN "+plain+"\nS* b NO .LIMIT.*\n"+
		// carl's database is down
		"C: c LOGIN carl \""+long+"\"\nS* c NO .LIMIT.*\nC: d LOGOUT\nS* .*\nS* d .*\nS-")
	s.Wait(t)
	if log := s.Log.String(); strings.Count(log, "LOGIN REFUSED") != 3 ||
		strings.Contains(log, "authentication error") {
		t.Errorf("log\n%s", log)
	}
}

// tookTime is the end of a log line about a session that has lasted for a second at least.
var tookTime = regexp.MustCompile(`\btime=[1-9]`)
