package pop3

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/maillog"
	"mailproxy/tests/fronttest"
	"mailproxy/tests/transcript"
)

// testMailhost returns a Mailhost on one end of a socketpair, and the other end.
func testMailhost(t testing.TB, log io.Writer) (*mailhost.Conn, *net.UnixConn) {
	t.Helper()
	ours, theirs := fronttest.Socketpair(t)
	return &mailhost.Conn{
		Conn: ours, Host: "mail.example", Addr: "192.0.2.1:110",
		User: "ann@example.com", Password: "sec ret",
		Client: launch.Peer{RemoteIP: "::ffff:192.0.2.7", RemotePort: "4711"},
		Config: &config.Config{},
		Log:    maillog.NewLog(log),
	}, theirs
}

func TestMailhost(t *testing.T) {
	long := strings.Repeat("u", 200)
	cases := []struct {
		name   string
		change func(m *mailhost.Conn)
		server string // what the mailhost does
		step   mailhost.Step
		reject bool
		code   string // of a rejection
		cause  string // in the text of an error
		log    string
	}{
		{name: "plain", server: `
			S: +OK POP3 ready <1.2@mail.example>
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: +OK 3 messages`},
		{name: "one byte after the other, LF only, lower case", server: `
			S= "+"
			.. 5ms
			S= "ok hi\n"
			C: USER ann@example.com
			S= "+OK\n"
			C: PASS sec ret
			S= "+OK\n"`},
		{name: "utf8", change: func(m *mailhost.Conn) { m.UTF8, m.User = true, "änn" }, server: `
			S: +OK
			C: UTF8
			S: +OK
			C: USER änn
			S: +OK
			C: PASS sec ret
			S: +OK`},
		{name: "no utf8 there, and none needed", change: func(m *mailhost.Conn) { m.UTF8 = true }, server: `
			S: +OK
			C: UTF8
			S: -ERR Unknown command.
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: +OK`},
		{name: "no utf8 there, but needed", change: func(m *mailhost.Conn) { m.UTF8, m.Password = true, "grün" },
			step: mailhost.StepUTF8, cause: "not ASCII", server: `
			S: +OK
			C: UTF8
			S: -ERR Unknown command.`},
		{name: "hangs up on utf8, which is needed", change: func(m *mailhost.Conn) {
			m.UTF8, m.User,
				m.LeaveOut = true, "änn", true
		},
			step: mailhost.StepUTF8, server: `
			S: +OK
			C: UTF8
			S-`},
		{name: "hung up on utf8 before", change: func(m *mailhost.Conn) { m.UTF8, m.LeaveOut = true, true },
			server: `
			S: +OK
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: +OK`},
		{name: "wrong password", step: mailhost.StepPassword, reject: true, server: `
			S: +OK
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: -ERR sorry`},
		{name: "wrong password, with a code", step: mailhost.StepPassword, reject: true, server: `
			S: +OK
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: -ERR [auth] sorry`},
		{name: "unknown user", step: mailhost.StepUser, reject: true, server: `
			S: +OK
			C: USER ann@example.com
			S: -ERR no mailbox here
			C: CAPA
			S: +OK
			S: USER
			S: SASL PLAIN
			S: .`},
		{name: "unknown user, old server", step: mailhost.StepUser, reject: true, server: `
			S: +OK
			C: USER ann@example.com
			S: -ERR no mailbox here
			C: CAPA
			S: -ERR what?`},
		{name: "Exchange and Cyrus without plain logins: no USER, but SASL PLAIN", change: encrypted, server: `
			S: +OK The Microsoft Exchange POP3 service is ready.
			C: USER ann@example.com
			S: -ERR Command is not valid in this state.
			C: CAPA
			S: +OK
			S: TOP
			S: UIDL
			S: SASL NTLM GSSAPI PLAIN
			S: .
			C: AUTH PLAIN AGFubkBleGFtcGxlLmNvbQBzZWMgcmV0
			S: +OK User successfully logged on.`},
		{name: "Dovecot without plain logins wants TLS", step: mailhost.StepUser, cause: "PROXY_TLS=STARTTLS",
			server: `
			S: +OK Dovecot ready.
			C: USER ann@example.com
			S: -ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.
			C: CAPA
			S: +OK
			S: CAPA
			S: STLS
			S: SASL PLAIN
			S: .`},
		{name: "neither", step: mailhost.StepUser, cause: "which PROXY_TLS does not encrypt", server: `
			S: +OK
			C: USER ann@example.com
			S: -ERR no
			C: CAPA
			S: +OK
			S: SASL GSSAPI
			S: .`},
		{name: "neither, under TLS", change: encrypted, step: mailhost.StepUser,
			cause: "neither USER nor AUTH PLAIN", server: `
			S: +OK
			C: USER ann@example.com
			S: -ERR no
			C: CAPA
			S: +OK
			S: .`},
		{name: "a list without end", step: mailhost.StepUser, cause: "without end", server: `
			S: +OK
			C: USER ann@example.com
			S: -ERR no
			C: CAPA
			S: +OK
			S= "${manylines}"`},
		{name: "in use", step: mailhost.StepPassword, reject: true, code: "IN-USE", server: `
			S: +OK
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: -ERR [IN-USE] locked`},
		{name: "system failure", step: mailhost.StepPassword, reject: true, code: "SYS/TEMP", server: `
			S: +OK
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: -ERR [SYS/TEMP] disk`},
		{name: "system failure at USER", step: mailhost.StepUser, reject: true, code: "SYS/PERM", server: `
			S: +OK
			C: USER ann@example.com
			S: -ERR [sys/perm] gone`},
		{name: "login delay", step: mailhost.StepPassword, reject: true, code: "LOGIN-DELAY", server: `
			S: +OK
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: -ERR [LOGIN-DELAY] wait`},
		{name: "greeted with an error", step: mailhost.StepGreeting, server: "S: -ERR [SYS/TEMP] full"},
		{name: "greeted with plain -ERR", step: mailhost.StepGreeting, server: "S: -ERR go away"},
		{name: "another protocol", step: mailhost.StepGreeting, server: "S: * OK IMAP4rev1"},
		{name: "almost OK", step: mailhost.StepGreeting, server: "S: +OKAY"},
		{name: "closes at once", step: mailhost.StepGreeting, server: "S-"},
		{name: "closes within the line", step: mailhost.StepGreeting, server: "S= \"+OK hel\"\nS-"},
		{name: "closes after PASS", step: mailhost.StepPassword, server: `
			S: +OK
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S-`},
		{name: "a greeting of one megabyte", server: `
			S: +OK ${megabyte}
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: +OK`},
		{name: "empty lines, a tab, commas, colons", server: `
			S= "\n\r\n+OK\tready\r\n"
			C: USER ann@example.com
			S: +OK, go on
			C: PASS sec ret
			S: +ok: in`},
		{name: "nothing but empty lines", step: mailhost.StepGreeting, server: `
			S= "\n\n\n\n\n\n"`},
		{name: "a colon after -ERR", step: mailhost.StepPassword, reject: true, code: "IN-USE", server: `
			S: +OK
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: -ERR: [IN-USE] locked`},
		{name: "line break in the name", change: func(m *mailhost.Conn) { m.User = "ann\r\nDELE 1" },
			step: mailhost.StepUser},
		{name: "NUL in the password", change: func(m *mailhost.Conn) { m.Password = "a\x00b" },
			step: mailhost.StepUser},
		{name: "CR in the password", change: func(m *mailhost.Conn) { m.Password = "a\rb" },
			step: mailhost.StepUser},
		{name: "no password", change: func(m *mailhost.Conn) { m.Password = "" }, step: mailhost.StepUser},
		{name: "no name", change: func(m *mailhost.Conn) { m.User = "" }, step: mailhost.StepUser},
		{name: "master", change: func(m *mailhost.Conn) { m.User, m.Authzid = "master", "ann" }, server: `
			S: +OK
			C: CAPA
			S: +OK
			S: SASL LOGIN PLAIN
			S: .
			C: AUTH PLAIN YW5uAG1hc3RlcgBzZWMgcmV0
			S: +OK`},
		{name: "master, initial response ignored", change: func(m *mailhost.Conn) {
			m.User, m.Authzid = "master",
				"ann"
		}, server: `
			S: +OK
			C: CAPA
			S: +OK
			S: SASL LOGIN PLAIN
			S: .
			C: AUTH PLAIN YW5uAG1hc3RlcgBzZWMgcmV0
			S= "+ \r\n"
			C: YW5uAG1hc3RlcgBzZWMgcmV0
			S: +OK`},
		{name: "master, long", change: func(m *mailhost.Conn) {
			m.User, m.Authzid, m.Password = "master", long,
				"x"
		}, server: `
			S: +OK
			C: CAPA
			S: +OK
			S: SASL LOGIN PLAIN
			S: .
			C: AUTH PLAIN
			S: +
			C~ dXV1dXV1.*
			S: +OK`},
		{name: "master, long, accepted unseen", change: func(m *mailhost.Conn) {
			m.User, m.Authzid = "master",
				long
		},
			step: mailhost.StepLogin, server: `
			S: +OK
			C: CAPA
			S: +OK
			S: SASL LOGIN PLAIN
			S: .
			C: AUTH PLAIN
			S: +OK`},
		{name: "master, asked twice", change: func(m *mailhost.Conn) { m.User, m.Authzid = "master", "ann" },
			step: mailhost.StepLogin, server: `
			S: +OK
			C: CAPA
			S: +OK
			S: SASL PLAIN
			S: .
			C~ AUTH PLAIN .*
			S: +
			C~ .*
			S: +`},
		{name: "master refused", change: func(m *mailhost.Conn) { m.User, m.Authzid = "master", "ann" },
			step: mailhost.StepLogin, reject: true, server: `
			S: +OK
			C: CAPA
			S: +OK
			S: SASL PLAIN
			S: .
			C~ AUTH PLAIN .*
			S: -ERR no`},
		{name: "master, no list: the password waits", change: func(m *mailhost.Conn) {
			m.User, m.Authzid = "master",
				"ann"
		}, server: `
			S: +OK
			C: CAPA
			S: -ERR
			C: AUTH PLAIN
			S: + send it
			C: YW5uAG1hc3RlcgBzZWMgcmV0
			S: +OK`},
		{name: "master, not in the list", change: func(m *mailhost.Conn) { m.User, m.Authzid = "master", "ann" },
			step: mailhost.StepLogin, server: `
			S: +OK
			C: CAPA
			S: +OK
			S: USER
			S: .
			C: AUTH PLAIN
			S: -ERR what?`},
		{name: "master, NUL in the account", change: func(m *mailhost.Conn) {
			m.User, m.Authzid = "master",
				"a\x00b"
		},
			step: mailhost.StepLogin, server: "S: +OK\nC: CAPA\nS: -ERR"},
		{name: "xclient", change: func(m *mailhost.Conn) { m.Config.Forward, m.Hops = config.ForwardXCLIENT, 4 },
			server: `
			S: +OK
			C: XCLIENT ADDR=192.0.2.7 PORT=4711 TTL=4
			S: +OK Updated
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: +OK`},
		{name: "xclient not believed", change: func(m *mailhost.Conn) {
			m.Config.Forward = config.ForwardID
			m.Client = launch.Peer{RemoteIP: "2001:db8::1%eth0", RemotePort: "N/A"}
		}, log: "WARN: mail.example did not take the client's address (XCLIENT): " +
			"answered \"-ERR not trusted\"\n", server: `
			S: +OK
			C: XCLIENT ADDR=2001:db8::1
			S: -ERR not trusted
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: +OK`},
		{name: "hangs up on xclient", change: func(m *mailhost.Conn) { m.Config.Forward = config.ForwardXCLIENT },
			step: mailhost.StepForward, cause: "PROXY_FORWARD_CLIENT", server: `
			S: +OK
			C: XCLIENT ADDR=192.0.2.7 PORT=4711
			S-`},
		{name: "client not known", change: func(m *mailhost.Conn) {
			m.Config.Forward, m.Client = config.ForwardXCLIENT, launch.Peer{RemoteIP: "x\r\nDELE 1"}
		}, server: `
			S: +OK
			C: USER ann@example.com
			S: +OK
			C: PASS sec ret
			S: +OK`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var log strings.Builder
			m, theirs := testMailhost(t, &log)
			if c.change != nil {
				c.change(m)
			}
			played := make(chan error, 1)
			runner := &transcript.Runner{Conn: theirs, As: transcript.Server, Vars: map[string]string{
				"megabyte": strings.Repeat("x", 1<<20), "manylines": strings.Repeat("X\r\n", maxCapabilities),
			}}
			// What the mailhost sends after its last answer must stay in the connection.
			text := c.server
			if c.step == "" {
				text += "\nS: +OK more"
			}
			play(t, runner, text, played)
			err := loginAtMailhost(context.Background(), m)
			checkLoginError(t, err, c.step, c.reject, c.code)
			if c.cause != "" && !strings.Contains(err.Error(), c.cause) {
				t.Errorf("error %v, want one with %q", err, c.cause)
			}
			if err != nil && strings.Contains(err.Error(), m.Password) && m.Password != "" {
				t.Errorf("the password is in the error: %v", err)
			}
			if log.String() != c.log {
				t.Errorf("log %q, want %q", log.String(), c.log)
			}
			m.Conn.CloseWrite()
			if err := <-played; err != nil {
				t.Fatal(err)
			}
			if rest, _ := io.ReadAll(m.Conn); err == nil && string(rest) != "+OK more\r\n" {
				t.Errorf("left in the connection: %q", rest)
			}
			if sent, _ := io.ReadAll(runner.Buffered()); len(sent) > 0 {
				t.Errorf("sent to the mailhost besides: %q", sent)
			}
		})
	}
}

// play plays the mailhost in the background and then ends its direction. An empty text says nothing.
func play(t *testing.T, runner *transcript.Runner, text string, played chan<- error) {
	t.Helper()
	var scripts []*transcript.Script
	if text != "" {
		scripts = transcript.MustParse(t, text)
	}
	go func() {
		var err error
		for _, s := range scripts {
			err = errors.Join(err, runner.Play(s))
		}
		runner.Conn.(*net.UnixConn).CloseWrite()
		played <- err
	}()
}

func encrypted(m *mailhost.Conn) { m.TLS = true }

func checkLoginError(t *testing.T, err error, step mailhost.Step, reject bool, code string) {
	t.Helper()
	var rejection *login.RejectedError
	var stepError *mailhost.StepError
	switch {
	case step == "":
		if err != nil {
			t.Error(err)
		}
	case reject:
		if !errors.As(err, &rejection) || rejection.Step != step || code != "" && rejection.Answer.Code != code {
			t.Errorf("error %v, want a rejection at %s", err, step)
		}
	case !errors.As(err, &stepError) || stepError.Step != step || errors.As(err, &rejection):
		t.Errorf("error %v, want a failure at %s", err, step)
	}
}

func TestMailhostStartTLS(t *testing.T) {
	m, theirs := testMailhost(t, io.Discard)
	inner, innerTheirs := fronttest.Socketpair(t)
	m.StartTLS = func(context.Context) error {
		// The bytes after +OK belong to the handshake.
		got := make([]byte, 8)
		if _, err := io.ReadFull(m.Conn, got); err != nil || string(got) != "+OK sly\r" {
			t.Errorf("%q, %v", got, err)
		}
		m.Conn = inner
		return nil
	}
	played := make(chan error, 2)
	play(t, &transcript.Runner{Conn: theirs, As: transcript.Server},
		"S: +OK\nC: STLS\nS: +OK go\nS: +OK sly\nS: +OK slyer", played)
	play(t, &transcript.Runner{Conn: innerTheirs, As: transcript.Server},
		"C: USER ann@example.com\nS: +OK\nC: PASS sec ret\nS: +OK", played)
	if err := loginAtMailhost(context.Background(), m); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-played; err != nil {
			t.Error(err)
		}
	}
}

func TestMailhostStartTLSFails(t *testing.T) {
	for name, c := range map[string]struct {
		server    string
		handshake error
	}{
		"refused":          {"S: +OK\nC: STLS\nS: -ERR no", nil},
		"handshake fails":  {"S: +OK\nC: STLS\nS: +OK", errors.New("certificate has expired")},
		"closes at STLS":   {"S: +OK\nC: STLS\nS-", nil},
		"garbage to STLS":  {"S: +OK\nC: STLS\nS: \x16\x03\x01", nil},
		"refused, rejects": {"S: +OK\nC: STLS\nS: -ERR [AUTH] no", nil},
	} {
		t.Run(name, func(t *testing.T) {
			m, theirs := testMailhost(t, io.Discard)
			m.StartTLS = func(context.Context) error { return c.handshake }
			runner := &transcript.Runner{Conn: theirs, As: transcript.Server}
			played := make(chan error, 1)
			play(t, runner, c.server, played)
			checkLoginError(t, loginAtMailhost(context.Background(), m), mailhost.StepTLS, false, "")
			m.Conn.Close()
			if err := <-played; err != nil {
				t.Error(err)
			}
			if sent, _ := io.ReadAll(runner.Buffered()); len(sent) > 0 {
				t.Errorf("sent in clear: %q", sent)
			}
		})
	}
}

// A server that repeats the password does not bring it into the log.
func TestMailhostPasswordNotShown(t *testing.T) {
	m, theirs := testMailhost(t, io.Discard)
	go io.WriteString(theirs, "+OK\r\n+OK\r\n-ERR bad command: PASS sec ret\r\n")
	err := loginAtMailhost(context.Background(), m)
	if err == nil || strings.Contains(err.Error(), "sec ret") || !strings.Contains(err.Error(), "PASS ***") {
		t.Errorf("error %v", err)
	}
}

// FuzzMailhost lets a mailhost say anything. It logs in exactly when each of its first three lines is +OK,
// and what follows them is still in the connection.
func FuzzMailhost(f *testing.F) {
	for _, seed := range []string{
		"+OK\r\n+OK\r\n+OK\r\n", "+OK hi\n+ok\n+OK 1 2\nmore\x00", "-ERR [SYS/TEMP] x\r\n", "+OK\r\n-ERR [AUTH\r\n",
		"+OK\r\n+OK\r\n-ERR []\r\n", "+OK\r\n+OK\r\n-ERR [IN-USE]", "\r\n\r\n", "* OK\r\n",
		"+OK\r\r\n+OK\r\n+OK\r\n+OK\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		if len(said) > 20_000 {
			return // does not fit into the socket
		}
		m, theirs := testMailhost(t, io.Discard)
		if _, err := theirs.Write(said); err != nil {
			t.Fatal(err)
		}
		theirs.CloseWrite()
		err := loginAtMailhost(context.Background(), m)
		rest, _ := io.ReadAll(m.Conn)
		m.Conn.Close()
		want, after := string(said), true
		for range 3 {
			text, more, found := strings.Cut(want, "\n")
			text = strings.TrimSuffix(text, "\r")
			if !found || parseResponse(text).status != statusOK || len(text) > maxResponse {
				after = false
				break
			}
			want = more
		}
		if after != (err == nil) {
			t.Fatalf("error %v, want success: %v", err, after)
		}
		if err == nil && string(rest) != want {
			t.Fatalf("left in the connection %q, want %q", rest, want)
		}
	})
}
