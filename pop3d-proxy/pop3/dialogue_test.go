package pop3

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

// underTLS is what couriertls puts into the environment.
var underTLS = map[string]string{
	"POP3_TLS": "1", "TLS_CONNECTED_PROTOCOL": "TLSv1.3", "TLS_SUBJECT_EMAILADDRESS": "ann",
	"POP3AUTH": "LOGIN", "POP3AUTH_TLS": "plain gssapi PLAIN external", "POP3_TLS_REQUIRED": "1",
	"POP3_STARTTLS": "YES",
}

func TestTranscripts(t *testing.T) {
	for file, settings := range map[string]map[string]string{
		"commands": {"POP3_UTF8": "1"},
		"login":    {"POP3_UTF8": "yes"},
		"sasl":     {"POP3AUTH": "PLAIN LOGIN CRAM-MD5 CRAM-SHA1 CRAM-SHA256", "POP3_UTF8": "1"},
		"scram":    {"POP3AUTH": "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1"},
		"tokens": {"POP3_TLS": "1", "TLS_CONNECTED_PROTOCOL": "TLSv1.3",
			"TLS_SUBJECT_EMAILADDRESS": "ann", "POP3AUTH_TLS": "OAUTHBEARER XOAUTH2"},
		"tls-required": {"POP3_TLS_REQUIRED": "1", "POP3AUTH": "PLAIN"},
		"under-tls":    underTLS,
	} {
		front().Transcripts(t, file, settings)
	}
}

func TestLog(t *testing.T) {
	const where = fronttest.Where
	front().Logs(t, []fronttest.LogCase{
		{Name: "quit", Text: "S: +OK Hello there.\nC: QUIT\nS* .*\nS-",
			Log: []string{"INFO: LOGOUT, " + where, "DEBUG: Disconnected, " + where}},
		{Name: "closed", Text: "S: +OK Hello there.\nC-\nS-",
			Log: []string{"DEBUG: Disconnected, " + where}},
		{Name: "wrong password", Text: "S* .*\nC: USER a, ip=[192.0.2.1]\nC: PASS x\nS* -ERR .*\nC-\nS-",
			Log: []string{`INFO: LOGIN FAILED, user=a\054 ip=[192.0.2.1], ` + where, "DEBUG: Disconnected, " + where}},
		{Name: "wrong SASL", Text: "S* .*\nC: AUTH PLAIN AGFubgB3cm9uZw==\nS* -ERR .*\nC-\nS-",
			Log: []string{"INFO: LOGIN FAILED, method=PLAIN, " + where, "DEBUG: Disconnected, " + where}},
		{Name: "no such mechanism", Text: "S* .*\nC: AUTH x\nS* -ERR .*\nC-\nS-",
			Log: []string{"DEBUG: Disconnected, " + where}},
		{Name: "too long", Text: "S* .*\nC: USER ann\nC: PASS " + strings.Repeat("x", 4097) +
			"\nS* -ERR \\[SYS/PERM\\] .*\nC-\nS-",
			Log: []string{"INFO: LOGIN REFUSED, method=LOGIN, " + where +
				": name or password too long, at most 1024 and 4096 bytes are taken",
				"DEBUG: Disconnected, " + where}},
		{Name: "cancelled", Text: "S* .*\nC: AUTH PLAIN\nS* \\+ \nC: *\nS* -ERR .*\nC-\nS-",
			Log: []string{"DEBUG: Disconnected, " + where}},
		{Name: "trouble", Text: "S* .*\nC: USER carl\nC: PASS x\nS* -ERR .*\nC-\nS-",
			Log: []string{"WARN: authentication error, " + where + ": database down", "DEBUG: Disconnected, " +
				where}},
		{Name: "here", Text: "S* .*\nC: USER ann\nC: PASS sec ret\nS* .*local.*\nC-\nS* .*end\nS-",
			Log: []string{"WARN: proxy enabled, but no proxy host defined for ann"}, Status: -1},
	})
}

// What the mailhost sends along with its last OK reaches the client, in order.
func TestMailhostTalksAtOnce(t *testing.T) {
	s := front().Begin(t, fronttest.Options{Mailhost: func(conn *net.UnixConn) {
		io.WriteString(conn, "+OK\r\n+OK\r\n+OK in\r\n+OK unasked\r\nmore")
		conn.CloseWrite()
		io.Copy(io.Discard, conn)
	}})
	transcript.Play(t, s.Conn,
		"S* .*\nC: USER bob\nC: PASS geheim\nS* .*\nS: +OK Connected to proxy server.\nS: +OK unasked\n"+
			"S= \"more\"\nS-\nC-")
	if status := s.Wait(t); status != 0 {
		t.Errorf("status %d\n%s", status, s.Log)
	}
}

func TestTimeIsUp(t *testing.T) {
	for name, said := range map[string]string{
		"silent":          "",
		"within a line":   "USER an",
		"within SASL":     "AUTH PLAIN\r\n",
		"always the same": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := front().Begin(t, fronttest.Options{Settings: map[string]string{"LOGIN_TIMEOUT": "1",
				"LOGIN_MAX_COMMANDS": "1000000"}})
			io.WriteString(s.Conn, said)
			if name == "always the same" {
				go s.Repeat("CAPA\r\n")
			}
			said, _ := io.ReadAll(s.Conn)
			if status := s.Wait(t); status != 1 {
				t.Errorf("status %d", status)
			}
			// RFC 1939 section 3: "the server should close the TCP connection without ... sending any
			// response".
			if strings.Contains(string(said), "-ERR") || !tookTime.MatchString(s.Log.String()) {
				t.Errorf("said %q, log\n%s", said, s.Log)
			}
		})
	}
}

// SIGTERM ends a session that waits for the client, and one that waits for a mailhost.
func TestStop(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		s := front().Begin(t, fronttest.Options{})
		r := transcript.Play(t, s.Conn, "S* .*")
		s.Stop()
		r.MustPlay(t, "S: "+textShutdown+"\nS-")
		if status := s.Wait(t); status != 0 ||
			!strings.Contains(s.Log.String(), "NOTICE: Disconnected during shutdown by signal, ip=") {
			t.Errorf("status %d, log\n%s", status, s.Log)
		}
	})
	t.Run("mailhost", func(t *testing.T) {
		t.Parallel()
		asked := make(chan bool, 1)
		s := front().Begin(t, fronttest.Options{Mailhost: func(conn *net.UnixConn) {
			asked <- true
			io.Copy(io.Discard, conn)
		}})
		r := transcript.Play(t, s.Conn, "S* .*\nC: USER bob\nC: PASS geheim\nS* .*")
		<-asked
		s.Stop()
		r.MustPlay(t, "S: "+textShutdown+"\nS-")
		if status := s.Wait(t); status != 0 ||
			!strings.Contains(s.Log.String(), "NOTICE: Disconnected during shutdown by signal, ip=") {
			t.Errorf("status %d, log\n%s", status, s.Log)
		}
	})
}

// A client that sends whatever it likes gets one line for each of its own, until it is too many.
func TestHostile(t *testing.T) {
	t.Run("long lines", func(t *testing.T) {
		t.Parallel()
		s := front().Begin(t, fronttest.Options{})
		megabyte := strings.Repeat("A", 1<<20)
		go io.WriteString(s.Conn, "USER "+megabyte+"\r\nPASS x\r\n"+megabyte+"\r\nUSER ann\r\nPASS "+megabyte+
			"\r\nAUTH PLAIN "+megabyte+"\r\nAUTH LOGIN\r\n"+megabyte+"\r\nAUTH LOGIN "+strings.Repeat("A",
			12000)+"\r\nYQ==\r\nQUIT\r\n")
		transcript.Play(t, s.Conn, `
			S: +OK Hello there.
			S: -ERR Line too long.
			S: -ERR USER/PASS required.
			S: -ERR Line too long.
			S: +OK Password required.
			S: -ERR Line too long.
			S: -ERR Line too long.
			S: + VXNlcm5hbWU6
			S: -ERR Authentication aborted.
			S: + UGFzc3dvcmQ6
			S: -ERR [AUTH] Authentication failed.
			S: +OK Better luck next time.
			S-`)
	})
	t.Run("too many errors", func(t *testing.T) {
		t.Parallel()
		s := front().Begin(t, fronttest.Options{Settings: map[string]string{"LOGIN_MAX_COMMANDS": "1000"}})
		go io.WriteString(s.Conn, strings.Repeat("x\r\n", 98)+"CAPA\r\n"+strings.Repeat("x\r\n", 10000))
		said, _ := io.ReadAll(s.Conn)
		s.Wait(t)
		if n := strings.Count(string(said), "-ERR Invalid command.\r\n"); n != 98+99 {
			t.Errorf("%d refusals", n)
		}
		if !strings.HasSuffix(string(said), "\r\n-ERR Too many invalid commands.\r\n") {
			t.Errorf("ends with %q", said[max(0, len(said)-100):])
		}
	})
	t.Run("does not read", func(t *testing.T) {
		t.Parallel()
		s := front().Begin(t, fronttest.Options{Settings: map[string]string{"LOGIN_TIMEOUT": "1",
			"LOGIN_MAX_COMMANDS": "1000000"}})
		io.WriteString(s.Conn, strings.Repeat("CAPA\r\n", 5000))
		s.Wait(t)
	})
}

func TestParseLine(t *testing.T) {
	for _, c := range []struct {
		in, name, arg string
		ok            bool
	}{
		{"QUIT", "QUIT", "", true},
		{"user Ann Smith ", "USER", "Ann Smith ", true},
		{"PASS  x", "PASS", " x", true},
		{" \tcapa", "CAPA", "", true},
		{"PASS\tx\ty", "PASS", "x\ty", true},
		{"", "", "", true},
		{"PASS \xff\xfe", "PASS", "\xff\xfe", true},
	} {
		if name, arg, ok := parseLine([]byte(c.in)); name != c.name || arg != c.arg || ok != c.ok {
			t.Errorf("parseLine(%q) = %q, %q, %v", c.in, name, arg, ok)
		}
	}
	for b := range 256 {
		want := b >= 0x20 && b != 0x7f || b == '\t'
		if _, _, ok := parseLine([]byte{'P', ' ', byte(b), 'x'}); ok != want {
			t.Errorf("byte %#02x: ok %v", b, ok)
		}
	}
}

// FuzzParseLine: nothing is lost or added but blanks in front and the case of the name.
func FuzzParseLine(f *testing.F) {
	for _, seed := range []string{"USER ann", "PASS  sec ret ", "\tcapa", "AUTH PLAIN =", "", " ", "quit\x00",
		"ſtls x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		name, arg, ok := parseLine(text)
		if !ok {
			if name != "" || arg != "" {
				t.Errorf("%q, %q of a bad line", name, arg)
			}
			return
		}
		rest := strings.TrimLeft(string(text), " \t")
		if strings.ContainsAny(name, " \t\r\n\x00") || strings.ContainsAny(arg, "\r\n\x00") {
			t.Errorf("parseLine(%q) = %q, %q", text, name, arg)
		}
		if !strings.HasSuffix(rest, arg) || (arg != "" && len(rest) < len(arg)+1) {
			t.Errorf("parseLine(%q) loses of the argument: %q", text, arg)
		}
	})
}

// FuzzSession lets a client say anything that is no account's password. Every line is answered by lines, the
// session ends with the client's last word, and no line break of the client's is in the log.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"CAPA\r\nLANG\r\nUTF8\r\nQUIT\r\n", "USER zoe\r\nPASS x\r\nAUTH\r\n", "AUTH PLAIN\r\n*\r\n",
		"AUTH LOGIN\r\n\r\n\r\n",
		"AUTH PLAIN =\r\n", "AUTH CRAM-MD5\r\nYSBi\r\n", "USER a\rb\nPASS \x00\n",
		"STLS\r\nUSER carl\r\nPASS \xff\r\n",
		"AUTH EXTERNAL\r\n\r\n", "PASS\tx\r\n \t \r\n", "AUTH LOGIN YQ==\r\nYg==\r\nQUIT", "LANG x\r\nlang *\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		if len(said) > 20_000 || strings.Contains(string(said), "sec ret") {
			return
		}
		s := front().Begin(t, fronttest.Options{Settings: map[string]string{"POP3AUTH": "PLAIN LOGIN CRAM-MD5",
			"POP3_PROXY": "0"}})
		answer := s.Say(t, said)
		if !strings.HasPrefix(answer, "+OK Hello there.\r\n") || !strings.HasSuffix(answer, "\r\n") {
			t.Errorf("answer %q", answer)
		}
	})
}

// A process that is neither root nor another user for good serves nobody any more.
func TestHalfChanged(t *testing.T) {
	s := front().Begin(t, fronttest.Options{DropRoot: local.ErrChanged})
	transcript.Play(t, s.Conn, "S* .*\nC: USER bob\nS* .*\nC: PASS geheim\nS: "+textTemporary+"\nS-")
	if status := s.Wait(t); status != 1 ||
		!strings.Contains(s.Log.String(), "ERR: giving up root rights: ") {
		t.Errorf("status %d, log\n%s", status, s.Log)
	}
}

// Good commands and bad ones, right and wrong: one too many ends the session, and the log names the setting.
func TestTooManyCommands(t *testing.T) {
	s := front().Begin(t, fronttest.Options{Settings: map[string]string{"LOGIN_MAX_COMMANDS": "4"}})
	transcript.Play(t, s.Conn,
		"S* .*\nC: LANG\nS* .*\nC: x\nS* -ERR.*\nC: USER ann\nS* .*\nC: PASS x\nS* -ERR.*\n"+
			"C: LANG\nS: -ERR Too many commands without a login.\nS-")
	const want = "NOTICE: TOO MANY COMMANDS WITHOUT A LOGIN (LOGIN_MAX_COMMANDS=4), " + fronttest.Where + "\n"
	if status := s.Wait(t); status != 1 || !strings.Contains(s.Log.String(), want) {
		t.Errorf("status %d, log\n%s", status, s.Log)
	}
}

// A client that is sent away reads the last reply, whatever it has sent after its last command.
func TestLastReply(t *testing.T) {
	front().LastReply(t, strings.Repeat("x\r\n", maxErrors), textViolations)
}

// A password that is too long is refused by every command alike, and nobody is asked.
func TestLongPassword(t *testing.T) {
	long := strings.Repeat("p", sasl.MaxPassword+1)
	plain := base64.StdEncoding.EncodeToString([]byte("\x00ann\x00" + long))
	const refused = "\nS: -ERR [SYS/PERM] Mail server cannot open the mailbox, please call the postmaster\n"
	s := front().Begin(t, fronttest.Options{})
	transcript.Play(t, s.Conn, "S* .*\nC: USER ann\nS* .*\nC: PASS "+long+refused+
		"C: AUTH PLAIN "+plain+refused+
		// carl's database is down
		"C: USER carl\nS* .*\nC: PASS "+long+refused+
		"C: QUIT\nS* .*\nS-")
	s.Wait(t)
	if log := s.Log.String(); strings.Count(log, "LOGIN REFUSED") != 3 ||
		strings.Contains(log, "authentication error") {
		t.Errorf("log\n%s", log)
	}
}

// tookTime is the end of a log line about a session that has lasted for a second at least.
var tookTime = regexp.MustCompile(`\btime=[1-9]`)
