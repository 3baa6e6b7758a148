package imap

import (
	"context"
	"errors"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/maillog"
	"mailproxy/tests/fronttest"
	"mailproxy/tests/transcript"
)

// testMailhost returns a Mailhost on one end of a socketpair, and the other end.
func testMailhost(t testing.TB, settings ...string) (*mailhost.Conn, launch.Conn) {
	t.Helper()
	c, err := config.Load(nil, settings, config.IMAP)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := fronttest.Socketpair(t)
	ours.SetDeadline(time.Now().Add(time.Minute))
	return &mailhost.Conn{
		Conn: ours, Host: "mail.example", Addr: "192.0.2.1:143", Tag: "a1", User: "ann@example.com",
		Password: "sec ret",
		Client: launch.Peer{RemoteIP: "::ffff:192.0.2.7", RemotePort: "4711", LocalIP: "2001:db8::1",
			LocalPort: "143"},
		Config: c, Log: maillog.NewSilentLog(),
	}, theirs
}

// loginCase is a login at a mailhost.
type loginCase struct {
	name     string
	setting  string
	change   func(m *mailhost.Conn)
	server   string
	rejected bool          // RejectedError
	step     mailhost.Step // of any error
	cause    string        // in its text
	reply    string        // to the client; "" = the usual one
	rest     string        // what must still stand in the connection
}

// words are what scripts may name.
func words() map[string]string {
	return map[string]string{"megabyte": strings.Repeat("x", 1<<20), "tenkilobytes": strings.Repeat("X ", 5000) +
		"Y", "hundred": strings.Repeat("x", 100<<10)}
}

func runLogins(t *testing.T, cases []loginCase) {
	t.Helper()
	vars := words()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, theirs := testMailhost(t, strings.Fields(c.setting)...)
			if c.change != nil {
				c.change(m)
			}
			script := transcript.MustParse(t, c.server)[0]
			played := make(chan error, 1)
			go func() {
				defer theirs.CloseWrite()
				r := &transcript.Runner{Conn: theirs, As: transcript.Server, Vars: maps.Clone(vars)}
				played <- r.Play(script)
			}()
			err := loginAtMailhost(t.Context(), m)
			if err != nil {
				m.Conn.Close() // as the frontend does
			}
			if perr := <-played; perr != nil {
				t.Error(perr)
			}
			checkLoginError(t, err, c.rejected, c.step, c.cause)
			if err != nil {
				return
			}
			want := c.reply
			if want == "" {
				want = "a1 OK connected to proxy server.\r\n"
			}
			if got := string(m.Answer); got != want {
				t.Errorf("reply %q, want %q", got, want)
			}
			if rest, _ := io.ReadAll(m.Conn); string(rest) != c.rest {
				t.Errorf("left in the connection: %q, want %q", rest, c.rest)
			}
		})
	}
}

func TestLoginAtMailhost(t *testing.T) {
	runLogins(t, []loginCase{
		{name: "plain", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK logged in`},
		{name: "what follows stays", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S= "* CAPABILITY IMAP4rev1 IDLE\r\na1 OK hello\r\n* 1 EXISTS\r\n* 2"`,
			rest: "* 1 EXISTS\r\n* 2"},
		{name: "line ends, case, blanks", server: `
			S= "* ok [capability imap4]\n"
			C: a1 LOGIN "ann@example.com" "sec ret"
			S= "a1 ok\n"`},
		{name: "untagged on the way", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: * OK still thinking {5}
			S: * NO [ALERT] disk is nearly full
			S: * LIST () "/" {7}
			S: a1 NO x
			S: 
			S: whatever
			S: a2 OK not ours
			S: a1 OK fine`,
			reply: "* OK still thinking {5}\r\n* NO [ALERT] disk is nearly full\r\n* LIST () \"/\" {7}\r\n" +
				"a1 NO x\r\na1 OK connected to proxy server.\r\n"},
		{name: "one megabyte untagged", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: * OK ${megabyte}
			S: * X {1048576}
			S: ${megabyte})
			S: a1 OK ${megabyte}`},
		{name: "greeting of one megabyte", server: `
			S: * OK ${megabyte}
			C: C0 CAPABILITY
			S: C0 BAD what?
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine`},
		{name: "quoting", change: func(m *mailhost.Conn) { m.User, m.Password = `a"b\c`, "" }, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "a\"b\\c" ""
			S: a1 OK fine`},
		{name: "literals", change: func(m *mailhost.Conn) { m.User, m.Password = "änn", "p\x01w" }, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN {4}
			S: * OK wait
			S: + go on
			C: änn {3}
			S: +
			C= "p\x01w\r\n"
			S: a1 OK fine`,
			reply: "* OK wait\r\na1 OK connected to proxy server.\r\n"},
		{name: "quoted and literal", change: func(m *mailhost.Conn) { m.Password = "gr\xfc\xdfe" }, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" {5}
			S: + 
			C= "gr\xfc\xdfe\r\n"
			S: a1 OK fine`},
		{name: "literals, LITERAL+", change: func(m *mailhost.Conn) { m.User, m.Password = "änn", "ö" }, server: `
			S: * OK [CAPABILITY IMAP4rev1 LITERAL+] ready
			C: a1 LOGIN {4+}
			C: änn {2+}
			C: ö
			S: a1 OK fine`},
		{name: "literals, LITERAL-", change: func(m *mailhost.Conn) {
			m.User, m.Password = "änn", strings.Repeat("ö", 2049)
		}, server: `
			S: * OK [CAPABILITY IMAP4rev1 LITERAL-] ready
			C: a1 LOGIN {4+}
			C: änn {4098}
			S: + go on
			C: ` + strings.Repeat("ö", 2049) + `
			S: a1 OK fine`},
		{name: "literal rejected", change: func(m *mailhost.Conn) { m.User = "änn" }, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN {4}
			S: a1 NO [AUTHENTICATIONFAILED] no literals here`,
			step: "login", cause: "does not take LOGIN with a literal"},
		{name: "password's literal rejected", change: func(m *mailhost.Conn) {
			m.Password = "gr\xfc\xdfe"
		}, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" {5}
			S: a1 NO what?`,
			step: "login", cause: "does not take LOGIN with a literal"},
		{name: "literal rejected, with a reason", change: func(m *mailhost.Conn) { m.User = "änn" }, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN {4}
			S: a1 NO [UNAVAILABLE] not now`,
			rejected: true, step: "login", cause: "not now"},
		{name: "Courier's word for going on", change: func(m *mailhost.Conn) {
			m.User, m.Unverified = "änn", true
		}, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN {4}
			S: + OK
			C: änn "sec ret"
			S: a1 OK fine`},
		{name: "literal answered with OK", change: func(m *mailhost.Conn) { m.User = "änn" }, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN {4}
			S: a1 OK really?`},
		{name: "password not seen by whom it is to be verified", change: func(m *mailhost.Conn) {
			m.User, m.Unverified = "änn", true
		}, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN {4}
			S: a1 OK really?`,
			step: "login", cause: "login accepted before the password was sent"},
		{name: "rejected", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 NO [AUTHENTICATIONFAILED] wrong`,
			rejected: true, step: "login", cause: "wrong"},
		{name: "rejected, BAD", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 BAD what?`,
			rejected: true, step: "login", cause: "what?"},
		{name: "not now", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 NO [UNAVAILABLE] database down`,
			rejected: true, step: "login", cause: "database down"},
		{name: "not now, lower case", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 no [serverbug x] oops`,
			rejected: true, step: "login", cause: "oops"},
		{name: "in use", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 NO [INUSE] locked`,
			rejected: true, step: "login", cause: "locked"},
		{name: "not without TLS", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 NO [PRIVACYREQUIRED] use TLS`,
			rejected: true, step: "login", cause: "use TLS"},
		{name: "asks for more", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: + more?`,
			step: "login", cause: "asks for more"},
		{name: "tag without status", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 FETCH`,
			step: "login", cause: "a1 FETCH"},
		{name: "bye instead", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: * BYE overloaded`,
			step: "login", cause: "overloaded"},
		{name: "closes", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"`,
			step: "login", cause: "EOF"},
		{name: "closes in the line", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S= "a1 OK"`,
			step: "login", cause: "unexpected EOF"},
		{name: "literal beyond reason", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: * X {99999999999999999999}`,
			step: "login", cause: "without end"},
		{name: "greeting BYE", server: `
			S: * BYE too many connections`,
			step: "greeting", cause: "too many connections"},
		{name: "greeting PREAUTH", server: `
			S: * PREAUTH welcome`,
			step: "greeting", cause: "PREAUTH"},
		{name: "greeting of another protocol", server: `
			S: 220 mail.example ESMTP`,
			step: "greeting", cause: "ESMTP"},
		{name: "greeting tagged", server: `
			S: a1 OK ready`,
			step: "greeting", cause: "a1 OK"},
		{name: "greeting empty", server: `
			S: `,
			step: "greeting", cause: "EOF"},
		{name: "empty lines in front of the greeting", server: `
			S= "\r\n\n\r\n"
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine`},
		{name: "nothing but empty lines", server: `
			S= "\n\n\n\n\n\n"`,
			step: "greeting", cause: `""`},
		{name: "no greeting", server: `
			S= "* OK"`,
			step: "greeting", cause: "EOF"},
		{name: "CR in the name", change: func(m *mailhost.Conn) { m.User = "a\rb" }, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready`,
			step: "login", cause: "not sent"},
		{name: "LF in the password", change: func(m *mailhost.Conn) { m.Password = "x\na2 DELETE INBOX" }, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready`,
			step: "login", cause: "not sent"},
		{name: "NUL in the authorization", change: func(m *mailhost.Conn) { m.Authzid = "x\x00" }, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready`,
			step: "login", cause: "not sent"},
	})
}

func checkLoginError(t *testing.T, err error, rejected bool, step mailhost.Step, cause string) {
	t.Helper()
	if step == "" {
		if err != nil {
			t.Errorf("error: %v", err)
		}
		return
	}
	var got mailhost.Step
	if e, ok := errors.AsType[*mailhost.StepError](err); ok && !rejected {
		got = e.Step
	}
	if e, ok := errors.AsType[*login.RejectedError](err); ok && rejected {
		got = e.Step
	}
	if got != step || !strings.Contains(err.Error(), cause) || len(err.Error()) > 400 {
		t.Errorf("error %v; want one at step %q with %q, rejected: %v", err, step, cause, rejected)
	}
}

func underTLS(m *mailhost.Conn) { m.TLS = true }

func master(m *mailhost.Conn) {
	m.Authzid, m.User, m.Password = m.User, "master", "s3cr3t"
}

// TestMailhostStartTLS uses no real TLS: the handshake is the frontend's. What is checked is when it begins,
// and what counts afterwards.
func TestMailhostStartTLS(t *testing.T) {
	for _, c := range []struct {
		name, server, after string
		handshake           error
		step                mailhost.Step
		cause               string
	}{
		{name: "good", server: `
			S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED LITERAL+] ready
			C: S1 STARTTLS
			S: S1 OK begin`, after: `
			C: C0 CAPABILITY
			S: * CAPABILITY IMAP4rev1 AUTH=PLAIN
			S: C0 OK done
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine`},
		{name: "preauth", server: `
			S: * PREAUTH ready`, step: "greeting", cause: "PREAUTH"},
		{name: "refused", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: S1 STARTTLS
			S: S1 NO no certificate`, step: "tls", cause: "no certificate"},
		{name: "stripped", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: S1 STARTTLS
			S: S1 BAD unknown command`, step: "tls", cause: "unknown command"},
		{name: "injected", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: S1 STARTTLS
			S= "S1 OK begin\r\n* CAPABILITY IMAP4rev1\r\n"`, step: "tls", cause: "clear text"},
		{name: "handshake fails", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: S1 STARTTLS
			S: S1 OK begin`, handshake: errors.New("wrong name"), step: "tls", cause: "wrong name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, theirs := testMailhost(t)
			encrypted, behindTLS := fronttest.Socketpair(t)
			begun := make(chan bool, 1)
			m.StartTLS = func(context.Context) error {
				m.Conn = encrypted
				begun <- true
				return c.handshake
			}
			before := transcript.MustParse(t, c.server)[0]
			after := before
			if c.after != "" {
				after = transcript.MustParse(t, c.after)[0]
			}
			played := make(chan error, 1)
			go func() {
				defer theirs.CloseWrite()
				r := &transcript.Runner{Conn: theirs, As: transcript.Server}
				err := r.Play(before)
				if err == nil && after != before {
					<-begun
					r = &transcript.Runner{Conn: behindTLS, As: transcript.Server}
					err = r.Play(after)
				}
				played <- err
			}()
			err := loginAtMailhost(t.Context(), m)
			if perr := <-played; perr != nil {
				t.Error(perr)
			}
			checkLoginError(t, err, false, c.step, c.cause)
		})
	}
}

// FuzzMailhost lets a mailhost say anything, all at once: a login succeeds with its word only, what stands
// after that word stays in the connection, the password is sent once at the most and is in no error.
func FuzzMailhost(f *testing.F) {
	for _, seed := range []string{
		"* OK ready\r\na1 OK in\r\nmore", "* OK\r\n+ \r\n+ \r\na1 OK\r\n", "* OK [CAPABILITY LOGINDISABLED " +
			"AUTH=PLAIN SASL-IR]\r\na1 OK\r\n",
		"* OK\r\n* CAPABILITY X\r\na1 OK\r\na1 OK\r\n",
		"* OK [CAPABILITY LITERAL+]\r\n* X {3}\r\nabc\r\na1 NO [INUSE] sec ret\r\n",
		"* PREAUTH\r\na1 OK\r\n", "* OK\r\n* BYE sec ret\r\n",
		"* OK\r\na1 OK\r\n* CAPABILITY Y\r\nC1 OK\r\n* 1 EXISTS\r\n",
	} {
		for kind := range uint8(9) {
			f.Add([]byte(seed), kind)
		}
	}
	f.Fuzz(func(t *testing.T, said []byte, kind uint8) {
		if len(said) > 20_000 {
			return // does not fit into the socket
		}
		m, theirs := testMailhost(t, "IMAP_PROXY_FOREIGN="+string('0'+rune(kind%3)))
		m.Hops = 2
		switch kind / 3 % 3 {
		case 1:
			m.Password = "séc ret" // a literal
		case 2:
			m.Authzid = "joe@example.com"
		}
		if _, err := theirs.Write(said); err != nil {
			t.Fatal(err)
		}
		theirs.CloseWrite()
		err := loginAtMailhost(context.Background(), m)
		rest, _ := io.ReadAll(m.Conn)
		m.Conn.Close()
		sent, _ := io.ReadAll(theirs)
		if n := strings.Count(string(sent), m.Password); n > 1 {
			t.Errorf("the password was sent %d times: %q", n, sent)
		}
		if err != nil {
			if strings.Contains(err.Error(), m.Password) {
				t.Errorf("the password is in the error: %v", err)
			}
			return
		}
		read, behind := strings.CutSuffix(string(said), string(rest))
		if !behind || !strings.HasSuffix(read, "\n") || !strings.Contains(strings.ToUpper(read), "\nA1 OK") {
			t.Errorf("logged in after %q, left %q", read, rest)
		}
		if reply := string(m.Answer); !strings.HasSuffix(reply, crlf) {
			t.Errorf("the client is told %q", reply)
		}
	})
}
