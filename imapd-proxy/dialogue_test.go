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
	"strings"
	"testing"
	"time"

	"mailproxy/internal/inetd"
	"mailproxy/tests/transcript"
)

// settings are those that the files in testdata are about.
func settings(file string) map[string]string {
	switch file {
	case "settings":
		return map[string]string{
			"IMAP_CAPABILITY": "IMAP4rev1 IDLE", "IMAP_CAPABILITY_TLS": "NOT THIS", "IMAP_ACL": "1", "IMAP_KEYWORDS": "1",
			"IMAP_ID_FIELDS": "3", "OUTBOX": ".Out", "IMAP_MOVE_EXPUNGE_TO_TRASH": "1", "SMAP_CAPABILITY": "SMAP1",
		}
	case "tls-required":
		return map[string]string{"IMAP_TLS_REQUIRED": "1"}
	case "under-tls":
		return map[string]string{
			"IMAP_TLS": "1", "TLS_CONNECTED_PROTOCOL": "TLSv1.3", "TLS_SUBJECT_EMAILADDRESS": "ann", "IMAP_TLS_REQUIRED": "1",
			"IMAP_CAPABILITY": "NOT-THIS", "IMAP_CAPABILITY_TLS": "IMAP4rev1 AUTH=PLAIN", "IMAP_STARTTLS": "YES",
		}
	}
	return nil
}

func TestTranscripts(t *testing.T) {
	for _, file := range []string{"commands", "login", "sasl", "settings", "tls-required", "under-tls"} {
		for _, script := range transcript.Files(t, "testdata/"+file+".txt") {
			for _, dribble := range []time.Duration{0, time.Microsecond} {
				t.Run(fmt.Sprintf("%s/%s/%s", file, script.Name, dribble), func(t *testing.T) {
					t.Parallel()
					s := begin(t, options{settings: settings(file)})
					r := &transcript.Runner{Conn: s.conn, Dribble: dribble, Funcs: crams()}
					if err := r.Play(script); err != nil {
						t.Fatalf("%v\n--- log:\n%s", err, s.log)
					}
					s.wait(t)
					if strings.Contains(s.log.String(), "sec ret") || strings.Contains(s.log.String(), "geheim") {
						t.Errorf("a password is in the log:\n%s", s.log)
					}
				})
			}
		}
	}
}

// crams are the answers to ${challenge} with ann's password.
func crams() map[string]func(map[string]string) (string, error) {
	return map[string]func(map[string]string) (string, error){
		"cram_md5": cram(md5.New), "cram_sha1": cram(sha1.New), "cram_sha256": cram(sha256.New),
	}
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
		{"logout", "S* .*\nC: a LOGOUT\nS* a OK .*\nS-", []string{"INFO: LOGOUT, " + where + ", rcvd=10, sent=131"}, 0},
		{"closed", "S* .*\nC-\nS-", []string{"DEBUG: Disconnected, " + where + ", time=0"}, 0},
		{"wrong password", "S* .*\nC: a LOGIN ann x\nS* a NO .*\nC-\nS-",
			[]string{"INFO: LOGIN FAILED, user=ann, " + where, "DEBUG: Disconnected, " + where + ", time=0"}, 0},
		{"wrong SASL", "S* .*\nC: a AUTHENTICATE PLAIN AGFubgB3cm9uZw==\nS* a NO .*\nC-\nS-",
			[]string{"INFO: LOGIN FAILED, method=PLAIN, " + where, "DEBUG: Disconnected, " + where + ", time=0"}, 0},
		{"no such mechanism", "S* .*\nC: a AUTHENTICATE x\nS* a NO .*\nC-\nS-",
			[]string{"INFO: LOGIN FAILED, method=X, " + where, "DEBUG: Disconnected, " + where + ", time=0"}, 0},
		{"trouble", "S* .*\nC: a LOGIN carl x\nS* a NO .*\nC-\nS-",
			[]string{"WARN: authentication error, " + where + ": database down", "DEBUG: Disconnected, " + where + ", time=0"}, 0},
		{"too many errors", "S* .*\n" + strings.Repeat("C: x y\n", 10) + "S* .*VIOLATIONS: \nS-",
			[]string{"ERR: TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS, " + where}, 1},
		{"here", "S* .*\nC: a LOGIN ann \"sec ret\"\nS* .*local.*\nC-\nS* .*end\nS-",
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

// What a client says about itself by ID is logged, and can not pass for fields of the line.
func TestLogID(t *testing.T) {
	s := begin(t, options{settings: map[string]string{"IMAP_ID_FIELDS": ""}})
	transcript.Play(t, s.conn, "S* .*\nC: a ID (\"name\" \"x, ip=[192.0.2.1]\" \"os\" NIL)\nS: * ID (\"name\" \"imapd-proxy\")\nS* a OK .*\nC-\nS-")
	s.wait(t)
	const want = `INFO: ID, ip=[::ffff:192.0.2.7], port=[4711], name=x\054 ip\075\133192.0.2.1\135, os=NIL`
	if !strings.Contains(s.log.String(), want+"\n") {
		t.Errorf("log\n%swant %s", s.log, want)
	}
}

// What the mailhost says decides what the client reads, but its words are for the log only.
func TestMailhostAnswers(t *testing.T) {
	const refused, busy = "[AUTHENTICATIONFAILED] Login failed.", "[UNAVAILABLE] Temporary problem, please try again later"
	for _, c := range []struct{ name, answer, want, log string }{
		{"wrong password", "S: a NO secret words", refused, "LOGIN FAILED, user=bob"},
		{"in use", "S: a NO [INUSE] secret words", busy, "WARN: "},
		{"closes", "S-", busy, "WARN: "},
		{"garbage", "S: + secret words", busy, "WARN: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			script := transcript.MustParse(t, "S: * OK\nC: a LOGIN \"bob\" \"geheim\"\n"+c.answer)[0]
			s := begin(t, options{mailhost: func(conn inetd.Conn) {
				r := &transcript.Runner{Conn: conn, As: transcript.Server}
				if err := r.Play(script); err != nil {
					t.Error(err)
				}
				io.Copy(io.Discard, r.Buffered())
			}})
			transcript.Play(t, s.conn, "S* .*\nC: a LOGIN bob geheim\nS: a NO "+c.want+"\nC: b LOGOUT\nS* b .*\nS-")
			s.wait(t)
			if !strings.Contains(s.log.String(), c.log) {
				t.Errorf("log\n%swant %q in it", s.log, c.log)
			}
			if failed := strings.Contains(s.log.String(), "LOGIN FAILED"); failed != (c.want == refused) {
				t.Errorf("LOGIN FAILED in the log: %v (fail2ban counts it)\n%s", failed, s.log)
			}
		})
	}
}

// What the mailhost sends along with its OK reaches the client, in order, and its capabilities as they are asked for.
func TestMailhostTalksAtOnce(t *testing.T) {
	for foreign, want := range map[string]string{
		"0": "a OK connected to proxy server.", "2": "a OK [CAPABILITY X Y] connected to proxy server.",
	} {
		s := begin(t, options{settings: map[string]string{"IMAP_PROXY_FOREIGN": foreign}, mailhost: func(conn inetd.Conn) {
			io.WriteString(conn, "* OK\r\n* CAPABILITY X Y\r\na OK in\r\n* unasked\r\nmore")
			conn.CloseWrite()
			io.Copy(io.Discard, conn)
		}})
		transcript.Play(t, s.conn, "S* .*\nC: a LOGIN bob geheim\nS: "+want+"\nS: * unasked\nS= \"more\"\nS-\nC-")
		if status := s.wait(t); status != 0 {
			t.Errorf("status %d\n%s", status, s.log)
		}
	}
}

func TestTimeIsUp(t *testing.T) {
	for name, said := range map[string]string{
		"silent": "", "in a line": "a LOGIN an", "in a literal": "a LOGIN {5+}\r\nan", "in SASL": "a AUTHENTICATE PLAIN\r\n", "busy": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, options{settings: map[string]string{"LOGIN_TIMEOUT": "1"}})
			io.WriteString(s.conn, said)
			if name == "busy" {
				go func() {
					for {
						if _, err := io.WriteString(s.conn, "a NOOP\r\n"); err != nil {
							return
						}
						time.Sleep(50 * time.Millisecond)
					}
				}()
			}
			said, _ := io.ReadAll(s.conn)
			if status := s.wait(t); status != exitFailed {
				t.Errorf("status %d", status)
			}
			if !strings.HasSuffix(string(said), "* BYE Too much time without a login\r\n") || !strings.Contains(s.log.String(), "time=1") {
				t.Errorf("said %q, log\n%s", said, s.log)
			}
		})
	}
}

// SIGTERM ends a session that waits for the client, and one that waits for a mailhost.
func TestStop(t *testing.T) {
	for name, text := range map[string]string{"idle": "S* .*", "mailhost": "S* .*\nC: a LOGIN bob geheim\n.. 100ms"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, options{mailhost: func(conn inetd.Conn) { io.Copy(io.Discard, conn) }})
			r := transcript.Play(t, s.conn, text)
			s.stop()
			r.MustPlay(t, "S: * BYE Courier-IMAP server shut down by signal.\nS-")
			if status := s.wait(t); status != exitFailed || !strings.Contains(s.log.String(), "NOTICE: Disconnected during shutdown by signal, ip=") {
				t.Errorf("status %d, log\n%s", status, s.log)
			}
		})
	}
}

// A client that sends whatever it likes gets bounded answers, and memory does not grow with what it sends.
func TestHostile(t *testing.T) {
	t.Run("long lines", func(t *testing.T) {
		t.Parallel()
		s := begin(t, options{})
		megabyte := strings.Repeat("A", 1<<20)
		go io.WriteString(s.conn, "a1 LOGIN "+megabyte+" x\r\na2 "+megabyte+"\r\n"+megabyte+"\r\na3 LOGIN ann \""+megabyte+
			"\"\r\na4 AUTHENTICATE PLAIN "+megabyte+"\r\na5 AUTHENTICATE LOGIN\r\n"+megabyte+"\r\na6 AUTHENTICATE LOGIN "+
			strings.Repeat("A", 12000)+"\r\nYQ==\r\na7 LOGOUT\r\n")
		transcript.Play(t, s.conn, `
			S* \* OK .*
			S: * NO [ALERT] IMAP command too long.
			S: a1 NO Error in IMAP command received by server.
			S: * NO [ALERT] IMAP command too long.
			S: a2 NO Error in IMAP command received by server.
			S: * NO Error in IMAP command received by server.
			S: * NO [ALERT] IMAP command too long.
			S: a3 NO Error in IMAP command received by server.
			S: * NO [ALERT] IMAP command too long.
			S: a4 NO Error in IMAP command received by server.
			S: + VXNlcm5hbWU6
			S: a5 NO [AUTHENTICATIONFAILED] Login failed.
			S: + UGFzc3dvcmQ6
			S: a6 NO [AUTHENTICATIONFAILED] Login failed.
			S* a7 OK .*
			S-`)
	})
	t.Run("does not read", func(t *testing.T) {
		t.Parallel()
		s := begin(t, options{settings: map[string]string{"LOGIN_TIMEOUT": "1"}})
		go io.WriteString(s.conn, strings.Repeat("a CAPABILITY\r\n", 50000))
		s.wait(t)
	})
}

// FuzzSession lets a client say anything that is no account's password. It is answered by whole lines, the session ends
// with the client's last word, and no line of the log is the client's.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"a CAPABILITY\r\na LOGOUT\r\n", "a LOGIN zoe x\r\n", "a AUTHENTICATE PLAIN\r\n*\r\n", "a AUTHENTICATE LOGIN\r\n\r\n\r\n",
		"a AUTHENTICATE PLAIN =\r\n", "a AUTHENTICATE CRAM-MD5\r\nYSBi\r\n", "a LOGIN {3}\r\na\rb {1+}\r\n\x00\n",
		"a STARTTLS\r\na LOGIN carl \"\xc3\xa4\"\r\n", "a ID (\"x\" NIL)\r\n", "a X {5+}\r\nabcde\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		if len(said) > 20_000 || strings.Contains(string(said), "sec ret") {
			return
		}
		s := begin(t, options{settings: map[string]string{"IMAP_PROXY": "0", "IMAP_ID_FIELDS": "0"}})
		go func() {
			s.conn.Write(said)
			s.conn.CloseWrite()
		}()
		answer, _ := io.ReadAll(s.conn)
		s.wait(t)
		if !strings.HasPrefix(string(answer), "* OK [CAPABILITY") || !strings.HasSuffix(string(answer), "\r\n") {
			t.Errorf("answer %q", answer)
		}
		for l := range strings.SplitSeq(strings.TrimSuffix(s.log.String(), "\n"), "\n") {
			level, _, ok := strings.Cut(l, ": ")
			if !ok || !strings.Contains("DEBUG INFO WARN ERR", level) || strings.ContainsAny(l, "\r\x00\x1b") {
				t.Errorf("log line %q", l)
			}
		}
	})
}
