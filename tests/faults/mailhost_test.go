package faults

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// fault is a mailhost's misbehaviour, and what it must lead to.
type fault struct {
	name    string
	imap    string // the server's side of a dialogue, see harness.Scripted; empty: the case is about POP3 only
	pop3    string
	want    outcome
	step    string // in the log line; "/" separates what IMAP and POP3 call it
	then    func(net.Conn) error
	dribble time.Duration
}

const (
	greets   = "S: * OK [CAPABILITY IMAP4rev1] hello\n"
	takesTag = greets + "C~ (?P<tag>\\S+) LOGIN .*\n"
	greets3  = "S: +OK hello\n"
	user3    = greets3 + "C~ USER .*\n"
	pass3    = user3 + "S: +OK\nC~ PASS .*\n"
)

var faults = []fault{
	{name: "hangs before the greeting", imap: "\n", pop3: "\n", then: hang, want: temporary, step: "greeting"},
	{
		name: "hangs in the greeting", imap: `S= "* O"`, pop3: `S= "+O"`, then: hang, want: temporary,
		step: "greeting",
	},
	{name: "hangs after LOGIN", imap: takesTag, pop3: user3, then: hang, want: temporary, step: "login/user"},
	{name: "hangs after PASS", pop3: pass3, then: hang, want: temporary, step: "/password"},
	{
		name: "hangs in the answer", imap: takesTag + `S= "${tag} O"`, pop3: pass3 + `S= "+"`, then: hang,
		want: temporary, step: "login/password",
	},
	{name: "closes before the greeting", imap: "\n", pop3: "\n", want: temporary, step: "greeting"},
	{
		name: "closes in the greeting", imap: `S= "* OK he"`, pop3: `S= "+OK he"`, want: temporary,
		step: "greeting",
	},
	{name: "closes after the greeting", imap: greets, pop3: greets3, want: temporary, step: "login/user"},
	{name: "closes after LOGIN", imap: takesTag, pop3: user3, want: temporary, step: "login/user"},
	{name: "closes after PASS", pop3: pass3, want: temporary, step: "/password"},
	{
		name: "closes in the answer", imap: takesTag + `S= "${tag} OK"`, pop3: pass3 + `S= "+OK"`, want: temporary,
		step: "login/password",
	},
	{name: "resets before the greeting", imap: "\n", pop3: "\n", then: reset, want: temporary, step: "greeting"},
	{
		name: "resets after LOGIN", imap: takesTag, pop3: pass3, then: reset, want: temporary,
		step: "login/password",
	},
	{
		name: "is no mail server", imap: "S: 220 smtp.example.com ESMTP", pop3: "S: SSH-2.0-OpenSSH_9.2",
		want: temporary, step: "greeting",
	},
	{
		name: "sends garbage", imap: `S= "\x00\x01\xff\xfe\x16\x03\x01\r\n"`, pop3: `S= "\x00\xff\xfe\n\n\n"`,
		then: hang, want: temporary, step: "greeting",
	},
	{
		name: "says goodbye", imap: "S: * BYE too many connections",
		pop3: "S: -ERR [SYS/TEMP] too many connections", want: temporary, step: "greeting",
	},
	{name: "has everybody logged in", imap: "S: * PREAUTH welcome", want: temporary, step: "greeting"},
	{
		name: "rejects", imap: takesTag + "S: ${tag} NO wrong", pop3: pass3 + "S: -ERR wrong", want: refused,
		step: "login/password",
	},
	{
		name: "rejects with a code", imap: takesTag + "S: ${tag} NO [AUTHENTICATIONFAILED] wrong",
		pop3: pass3 + "S: -ERR [AUTH] wrong", want: refused, step: "login/password",
	},
	{name: "rejects the user", pop3: user3 + "S: -ERR who?\nC: CAPA\nS: -ERR", want: refused, step: "/user"},
	{
		name: "does not understand", imap: takesTag + "S: ${tag} BAD what?", pop3: user3 + "S: What?",
		want: temporary, step: "login/user",
	},
	{
		name: "has trouble of its own", imap: takesTag + "S: ${tag} NO [UNAVAILABLE] database down",
		pop3: pass3 + "S: -ERR [SYS/TEMP] database down", want: temporary, step: "login/password",
	},
	{
		name: "says goodbye instead of an answer", imap: takesTag + "S: * BYE going down", pop3: pass3 + "S: bye",
		want: temporary, step: "login/password",
	},
	{
		name: "asks for more", imap: takesTag + "S: + go on", pop3: pass3 + "S: + go on", then: hang,
		want: temporary, step: "login/password",
	},
	{name: "answers another tag", imap: takesTag + "S: zzz OK in", then: hang, want: temporary, step: "login"},
	{
		name: "talks without end", imap: takesTag, pop3: user3, then: endless("* 1 EXISTS\r\n"), want: temporary,
		step: "login/user",
	},
	{
		name: "talks slowly without end", imap: takesTag, then: drip("* 1 EXISTS\r\n"), want: temporary,
		step: "login",
	},
	{name: "greets without end", imap: "\n", pop3: "\n", then: endless("x"), want: temporary, step: "greeting"},
	{
		name: "stops reading", imap: "S: * OK [CAPABILITY IMAP4rev1] hello", pop3: "S: +OK hello", then: hang,
		want: temporary, step: "login/user",
	},
	{
		name: "one byte at a time", imap: harness.IMAP.Mailhost + echo, pop3: harness.POP3.Mailhost + echo,
		dribble: time.Millisecond, want: loggedIn,
	},
	{
		name: "bare line feeds",
		imap: "S= \"* OK [CAPABILITY IMAP4rev1] hello\\n\"\nC~ (?P<tag>\\S+) LOGIN .*\nS= \"${tag} OK in\\n\"\n" +
			echo,
		pop3: "S= \"+OK hello\\n\"\nC~ USER .*\nS= \"+OK\\n\"\nC~ PASS .*\nS= \"+OK\\n\"\n" + echo, want: loggedIn,
	},
	{
		name: "untagged responses",
		imap: takesTag + "S: * CAPABILITY IMAP4rev1\nS: * OK still there\nS: * 3 EXISTS\n" +
			"S: ${tag} OK [CAPABILITY IMAP4rev1] in\n" + echo,
		want: loggedIn,
	},
	{
		name: "a line of 1 MB",
		imap: takesTag + "S: * OK " + strings.Repeat("x", 1<<20) + "\nS: ${tag} OK in\n" + echo, want: loggedIn,
	},
	{
		name: "an answer of 1 MB",
		pop3: user3 + "S: +OK " + strings.Repeat("x", 1<<20) + "\nC~ PASS .*\nS: +OK in\n" + echo, want: loggedIn,
	},
}

// hang keeps the connection until the proxy closes it.
func hang(conn net.Conn) error {
	conn.SetReadDeadline(time.Now().Add(waitLimit))
	_, err := io.Copy(io.Discard, conn)
	return err
}

// reset ends the connection by RST instead of FIN. The proxy has seen it accepted only if it is a little
// late: when a proxy has noticed a connection cannot be seen from here, so this is a pause, and both outcomes
// must pass the test.
func reset(conn net.Conn) error {
	time.Sleep(100 * time.Millisecond)
	return conn.(*net.TCPConn).SetLinger(0)
}

func endless(text string) func(net.Conn) error {
	return func(conn net.Conn) error {
		conn.SetWriteDeadline(time.Now().Add(waitLimit))
		for block := []byte(strings.Repeat(text, 10000)); ; {
			if _, err := conn.Write(block); err != nil {
				return until(err)
			}
		}
	}
}

func drip(text string) func(net.Conn) error {
	return func(conn net.Conn) error {
		pace := time.NewTicker(50 * time.Millisecond)
		defer pace.Stop()
		for end := time.Now().Add(waitLimit); time.Now().Before(end); <-pace.C {
			if _, err := io.WriteString(conn, text); err != nil {
				return nil
			}
		}
		return errors.New("the proxy listens without end")
	}
}

// until says that the proxy closed the connection, unless it did not before the deadline.
func until(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the proxy listens without end")
	}
	return nil
}

func (f fault) script(p protocol) string {
	if p.Name == "IMAP" {
		return f.imap
	}
	return f.pop3
}

// serve is the mailhost.
func (f fault) serve(t *testing.T, p protocol) func(net.Conn) error {
	play := func(net.Conn) error { return nil }
	if strings.TrimSpace(f.script(p)) != "" {
		play = harness.Scripted(t, f.dribble, f.script(p))
	}
	return func(conn net.Conn) error {
		if err := play(conn); err != nil || f.then == nil {
			return err
		}
		return f.then(conn)
	}
}

// hurried is where front ends listen that give up a mailhost that hangs.
const hurried = "127.0.0.4"

// Each fault: the right answer in time, a session that goes on, one connection, one log line.
func TestMailhostFaults(t *testing.T) {
	var accounts []harness.Account
	for i := range faults {
		accounts = append(
			accounts,
			harness.Account{Name: fmt.Sprintf("user%d", i), Password: "pw", Options: "mailhost=" + address(i)},
		)
	}
	accounts = append(accounts, harness.Account{Name: "good", Password: "pw", Options: "mailhost=" + good})
	harness.Userdb(t, accounts...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	for _, p := range protocols {
		harness.NewFakeMailhost(t, p.At(good), harness.Scripted(t, 0, p.Mailhost+echo))
	}
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		var fronts []*harness.Proxy
		t.Run("all", func(t *testing.T) {
			for _, p := range protocols {
				patient, impatient := p.front(t, m, control, nil), p.front(t, m, hurried, hangingMailhost)
				fronts = append(fronts, patient, impatient)
				for i, f := range faults {
					if f.script(p) == "" {
						continue
					}
					front, at := patient, control
					if f.then != nil { // it may hang
						front, at = impatient, hurried
					}
					t.Run(p.Name+"/"+f.name, func(t *testing.T) {
						t.Parallel()
						f.run(t, p, at, front.Log(p.Name), p.At(address(i)), fmt.Sprintf("user%d", i))
					})
				}
			}
		})
		for _, front := range fronts {
			front.Idle(t)
		}
	})
}

func (f fault) run(t *testing.T, p protocol, at string, log *harness.Log, addr, user string) {
	fake := harness.NewFakeMailhost(t, addr, f.serve(t, p))
	want := f.want
	p.attempt(t, at, user, want, "good")
	if n := fake.Connections(); n != 1 {
		t.Errorf("%d connections to the mailhost", n)
	}
	if want == loggedIn {
		if w := warnings(log, "user="+user+":"); len(w) > 0 {
			t.Errorf("warnings: %q", w)
		}
		return
	}
	step, step3, differ := strings.Cut(f.step, "/")
	if differ && p.Name == "POP3" {
		step = step3
	}
	host, _, _ := net.SplitHostPort(addr)
	oneWarning(t, log, "user="+user+":", "step="+step+",")
	oneWarning(t, log, "user="+user+":", " "+host)
	oneWarning(t, log, "user="+user+":", "address="+addr+",")
	log.WaitN(t, 0, `LOGIN FAILED, user=`+user+`,`) // the auth module has found the password right
	for _, err := range fake.Errors() {
		if strings.Contains(err.Error(), "without end") {
			t.Error(err)
		}
	}
}
