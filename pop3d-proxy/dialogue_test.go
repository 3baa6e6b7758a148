package main

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/transcript"
)

// underTLS is what couriertls puts into the environment.
var underTLS = map[string]string{
	"POP3_TLS": "1", "TLS_CONNECTED_PROTOCOL": "TLSv1.3", "TLS_SUBJECT_EMAILADDRESS": "ann",
	"POP3AUTH": "LOGIN", "POP3AUTH_TLS": "plain", "POP3_TLS_REQUIRED": "1", "POP3_STARTTLS": "YES",
}

func TestTranscripts(t *testing.T) {
	for file, settings := range map[string]map[string]string{
		"commands":     nil,
		"login":        nil,
		"sasl":         {"POP3AUTH": "PLAIN LOGIN CRAM-MD5 CRAM-SHA1 CRAM-SHA256"},
		"tls-required": {"POP3_TLS_REQUIRED": "1"},
		"under-tls":    underTLS,
	} {
		for _, script := range transcript.Files(t, "testdata/"+file+".txt") {
			for _, dribble := range []time.Duration{0, time.Microsecond} {
				t.Run(fmt.Sprintf("%s/%s/%s", file, script.Name, dribble), func(t *testing.T) {
					t.Parallel()
					s := begin(t, options{settings: settings})
					r := &transcript.Runner{Conn: s.conn, Dribble: dribble, Funcs: crams}
					if err := r.Play(script); err != nil {
						t.Fatalf("%v\n--- log:\n%s", err, s.log)
					}
					s.wait(t)
					if strings.Contains(s.log.String(), "sec ret") {
						t.Errorf("a password is in the log:\n%s", s.log)
					}
				})
			}
		}
	}
}

// crams are the answers to ${challenge} with ann's password.
var crams = map[string]func(map[string]string) (string, error){
	"cram_md5":    cram(md5.New),
	"cram_sha1":   cram(sha1.New),
	"cram_sha256": cram(sha256.New),
}

func cram(h func() hash.Hash) func(map[string]string) (string, error) {
	return func(vars map[string]string) (string, error) {
		challenge, err := base64.StdEncoding.DecodeString(vars["challenge"])
		mac := hmac.New(h, []byte("sec ret"))
		mac.Write(challenge)
		return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "ann %x", mac.Sum(nil))), err
	}
}

func TestLog(t *testing.T) {
	const where = "ip=[::ffff:192.0.2.7], port=[4711]"
	for _, c := range []struct {
		name, text string
		log        []string // without the first line
		status     int
	}{
		{"quit", "S: +OK Hello there.\nC: QUIT\nS* .*\nS-",
			[]string{"INFO: LOGOUT, " + where, "DEBUG: Disconnected, " + where}, 0},
		{"closed", "S: +OK Hello there.\nC-\nS-", []string{"DEBUG: Disconnected, " + where}, 0},
		{"wrong password", "S* .*\nC: USER a, ip=[192.0.2.1]\nC: PASS x\nS* -ERR .*\nC-\nS-",
			[]string{`INFO: LOGIN FAILED, user=a\054 ip=[192.0.2.1], ` + where, "DEBUG: Disconnected, " + where}, 0},
		{"wrong SASL", "S* .*\nC: AUTH PLAIN AGFubgB3cm9uZw==\nS* -ERR .*\nC-\nS-",
			[]string{"INFO: LOGIN FAILED, method=PLAIN, " + where, "DEBUG: Disconnected, " + where}, 0},
		{"no such mechanism", "S* .*\nC: AUTH x\nS* -ERR .*\nC-\nS-",
			[]string{"INFO: LOGIN FAILED, method=X, " + where, "DEBUG: Disconnected, " + where}, 0},
		{"cancelled", "S* .*\nC: AUTH PLAIN\nS* \\+ \nC: *\nS* -ERR .*\nC-\nS-",
			[]string{"DEBUG: Disconnected, " + where}, 0},
		{"trouble", "S* .*\nC: USER carl\nC: PASS x\nS* -ERR .*\nC-\nS-",
			[]string{"WARN: authentication error, " + where + ": database down", "DEBUG: Disconnected, " + where}, 0},
		{"here", "S* .*\nC: USER ann\nC: PASS sec ret\nS* .*local.*\nC-\nS* .*end\nS-",
			[]string{"WARN: proxy enabled, but no proxy host defined for ann"}, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, options{})
			transcript.Play(t, s.conn, c.text)
			if status := s.wait(t); status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			want := strings.Join(append([]string{"DEBUG: Connection, " + where}, c.log...), "\n") + "\n"
			if s.log.String() != want {
				t.Errorf("log\n%swant\n%s", s.log, want)
			}
		})
	}
}

// What the mailhost says decides what the client reads, but its words are for the log only.
func TestMailhostAnswers(t *testing.T) {
	for _, c := range []struct{ name, pass, want, log string }{
		{"wrong password", "S: -ERR [AUTH] no", "-ERR [AUTH] Login failed.", "LOGIN FAILED, user=bob"},
		{"plain -ERR", "S: -ERR secret words", "-ERR [AUTH] Login failed.", "secret words"},
		{"in use", "S: -ERR [IN-USE] x", "-ERR [IN-USE] Mailbox is in use, please try again later", "WARN: Login to 192.0.2.99 failed"},
		{"login delay", "S: -ERR [LOGIN-DELAY] x", "-ERR [LOGIN-DELAY] Too many logins, please try again later", "WARN: "},
		{"temporary", "S: -ERR [SYS/TEMP] x", "-ERR [SYS/TEMP] Temporary problem, please try again later", "WARN: "},
		{"permanent", "S: -ERR [SYS/PERM] x", "-ERR [SYS/PERM] Mail server can not open the mailbox, please call the postmaster", "WARN: "},
		{"closes", "S-", "-ERR [SYS/TEMP] Temporary problem, please try again later", "step=password"},
		{"garbage", "S: * OK", "-ERR [SYS/TEMP] Temporary problem, please try again later", "not a POP3 response"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			script := transcript.MustParse(t, "S: +OK\nC: USER bob\nS: +OK\nC: PASS geheim\n"+c.pass)[0]
			s := begin(t, options{mailhost: func(conn *net.UnixConn) {
				r := &transcript.Runner{Conn: conn, As: transcript.Server}
				if err := r.Play(script); err != nil {
					t.Error(err)
				}
				io.Copy(io.Discard, r.Buffered())
			}})
			transcript.Play(t, s.conn, "S* .*\nC: USER bob\nS* .*\nC: PASS geheim\nS: "+c.want+"\nC: QUIT\nS* .*\nS-")
			s.wait(t)
			if !strings.Contains(s.log.String(), c.log) {
				t.Errorf("log\n%swant %q in it", s.log, c.log)
			}
			failed := strings.Contains(s.log.String(), "LOGIN FAILED")
			if refused := strings.Contains(c.want, "[AUTH]"); failed != refused {
				t.Errorf("LOGIN FAILED in the log: %v, want %v (fail2ban counts it)\n%s", failed, refused, s.log)
			}
		})
	}
}

// What the mailhost sends along with its last OK reaches the client, in order.
func TestMailhostTalksAtOnce(t *testing.T) {
	s := begin(t, options{mailhost: func(conn *net.UnixConn) {
		io.WriteString(conn, "+OK\r\n+OK\r\n+OK in\r\n+OK unasked\r\nmore")
		conn.CloseWrite()
		io.Copy(io.Discard, conn)
	}})
	transcript.Play(t, s.conn, "S* .*\nC: USER bob\nC: PASS geheim\nS* .*\nS: +OK Connected to proxy server.\nS: +OK unasked\nS= \"more\"\nS-\nC-")
	if status := s.wait(t); status != 0 {
		t.Errorf("status %d\n%s", status, s.log)
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
			s := begin(t, options{settings: map[string]string{"LOGIN_TIMEOUT": "1"}})
			start := time.Now()
			io.WriteString(s.conn, said)
			if name == "always the same" {
				go func() {
					for {
						if _, err := io.WriteString(s.conn, "CAPA\r\n"); err != nil {
							return
						}
						time.Sleep(50 * time.Millisecond)
					}
				}()
			}
			said, _ := io.ReadAll(s.conn)
			if status := s.wait(t); status != exitFail {
				t.Errorf("status %d", status)
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("took %s", d)
			}
			// RFC 1939 section 3: "the server should close the TCP connection without ... sending any response".
			if strings.Contains(string(said), "-ERR") || !strings.Contains(s.log.String(), "time=1") {
				t.Errorf("said %q, log\n%s", said, s.log)
			}
		})
	}
}

// SIGTERM ends a session that waits for the client, and one that waits for a mailhost.
func TestStop(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		s := begin(t, options{})
		transcript.Play(t, s.conn, "S* .*")
		s.stop()
		if status := s.wait(t); status != exitFail || !strings.Contains(s.log.String(), "NOTICE: Disconnected during shutdown by signal, ip=") {
			t.Errorf("status %d, log\n%s", status, s.log)
		}
	})
	t.Run("mailhost", func(t *testing.T) {
		t.Parallel()
		asked := make(chan bool, 1)
		s := begin(t, options{mailhost: func(conn *net.UnixConn) {
			asked <- true
			io.Copy(io.Discard, conn)
		}})
		transcript.Play(t, s.conn, "S* .*\nC: USER bob\nC: PASS geheim\nS* .*")
		<-asked
		s.stop()
		if status := s.wait(t); status != exitFail || !strings.Contains(s.log.String(), "NOTICE: Disconnected during shutdown by signal, ip=") {
			t.Errorf("status %d, log\n%s", status, s.log)
		}
	})
}

// A client that sends whatever it likes gets one line for each of its own, until it is too many.
func TestHostile(t *testing.T) {
	t.Run("long lines", func(t *testing.T) {
		t.Parallel()
		s := begin(t, options{})
		megabyte := strings.Repeat("A", 1<<20)
		go io.WriteString(s.conn, "USER "+megabyte+"\r\nPASS x\r\n"+megabyte+"\r\nUSER ann\r\nPASS "+megabyte+
			"\r\nAUTH PLAIN "+megabyte+"\r\nAUTH LOGIN\r\n"+megabyte+"\r\nAUTH LOGIN "+strings.Repeat("A", 12000)+"\r\nYQ==\r\nQUIT\r\n")
		transcript.Play(t, s.conn, `
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
		s := begin(t, options{})
		go io.WriteString(s.conn, strings.Repeat("x\r\n", 98)+"CAPA\r\n"+strings.Repeat("x\r\n", 10000))
		said, _ := io.ReadAll(s.conn)
		s.wait(t)
		if n := strings.Count(string(said), "-ERR Invalid command.\r\n"); n != 98+99 {
			t.Errorf("%d refusals", n)
		}
		if !strings.HasSuffix(string(said), "\r\n-ERR Too many invalid commands.\r\n") {
			t.Errorf("ends with %q", said[max(0, len(said)-100):])
		}
	})
	t.Run("does not read", func(t *testing.T) {
		t.Parallel()
		s := begin(t, options{settings: map[string]string{"LOGIN_TIMEOUT": "1"}})
		io.WriteString(s.conn, strings.Repeat("CAPA\r\n", 5000))
		s.wait(t)
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
	for _, seed := range []string{"USER ann", "PASS  sec ret ", "\tcapa", "AUTH PLAIN =", "", " ", "quit\x00", "ſtls x"} {
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

// FuzzSession lets a client say anything that is no account's password. Every line is answered by lines, the session ends
// with the client's last word, and no line break of the client's is in the log.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"CAPA\r\nLANG\r\nUTF8\r\nQUIT\r\n", "USER zoe\r\nPASS x\r\nAUTH\r\n", "AUTH PLAIN\r\n*\r\n", "AUTH LOGIN\r\n\r\n\r\n",
		"AUTH PLAIN =\r\n", "AUTH CRAM-MD5\r\nYSBi\r\n", "USER a\rb\nPASS \x00\n", "STLS\r\nUSER carl\r\nPASS \xff\r\n",
		"AUTH EXTERNAL\r\n\r\n", "PASS\tx\r\n \t \r\n", "AUTH LOGIN YQ==\r\nYg==\r\nQUIT", "LANG x\r\nlang *\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		if len(said) > 20_000 || strings.Contains(string(said), "sec ret") {
			return
		}
		s := begin(t, options{settings: map[string]string{"POP3AUTH": "PLAIN LOGIN CRAM-MD5", "POP3_PROXY": "0"}})
		go func() {
			s.conn.Write(said)
			s.conn.CloseWrite()
		}()
		answer, _ := io.ReadAll(s.conn)
		s.wait(t)
		if !strings.HasPrefix(string(answer), "+OK Hello there.\r\n") || !strings.HasSuffix(string(answer), "\r\n") {
			t.Errorf("answer %q", answer)
		}
		for _, l := range strings.Split(strings.TrimSuffix(s.log.String(), "\n"), "\n") {
			level, _, ok := strings.Cut(l, ": ")
			if !ok || !strings.Contains("DEBUG INFO WARN ERR", level) || strings.ContainsAny(l, "\r\x00\x1b") {
				t.Errorf("log line %q", l)
			}
		}
	})
}
