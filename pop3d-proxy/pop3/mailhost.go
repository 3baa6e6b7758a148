package pop3

import (
	"context"
	"errors"
	"fmt"

	"mailproxy/internal/line"
	"mailproxy/internal/mailhost"
)

// upstream is our dialogue with a mailhost, as its client.
type upstream struct {
	mailhost.Steps
	m  *mailhost.Conn
	in *line.Reader
	// greeted is the greeting.
	greeted string
	// capabilities is what the mailhost has said it can do, once it was asked; nil = it did not say.
	capabilities []string
	// final is the mailhost's +OK to the login.
	final string
	// challenge is why the mailhost refuses a token, in base64.
	challenge string
}

// loginAtMailhost logs in to a POP3 mailhost: greeting, TLS, the client's address and UTF8 as far as they are
// asked for, USER and PASS or AUTH. It reads nothing after the final answer.
func loginAtMailhost(ctx context.Context, m *mailhost.Conn) error {
	u := newUpstream(m)
	defer u.in.Clear() // a mailhost may repeat what it was told
	return u.Run(ctx, u.sendable, u.greeting, u.startTLS, u.forwardClient, u.utf8, u.login, u.follow)
}

func newUpstream(m *mailhost.Conn) *upstream { return &upstream{m: m, in: line.NewReader(m.Conn)} }

// greeting waits for +OK.
func (u *upstream) greeting(context.Context) error {
	u.Step = mailhost.StepGreeting
	text, err := u.line()
	for empty := 0; err == nil && text == "" && empty < maxEmpty; empty++ {
		text, err = u.line()
	}
	if err != nil {
		return err
	}
	r, err := u.parse(text, false)
	u.greeted = r.text
	return u.accepted(r, err)
}

// startTLS is STLS (RFC 2595 section 4). Nothing is read between the response and the handshake: what an
// attacker put there in clear text (CVE-2011-0411) meets the TLS layer, which ends the connection.
func (u *upstream) startTLS(ctx context.Context) error {
	if u.m.StartTLS == nil {
		return nil
	}
	u.Step = mailhost.StepTLS
	if err := u.accepted(u.command("STLS")); err != nil {
		return err
	}
	if err := u.m.StartTLS(ctx); err != nil {
		return err
	}
	u.in.Reset(u.m.Conn)
	return nil
}

// command sends a line and reads the response: +OK or -ERR, anything else is an error.
func (u *upstream) command(text string) (response, error) { return u.exchange(text, false) }

// exchange is command where a continuation ("+", RFC 5034 section 4) may be expected: then it is an answer
// too.
func (u *upstream) exchange(text string, continuation bool) (response, error) {
	if err := u.send(text); err != nil {
		return response{}, err
	}
	answer, err := u.line()
	if err != nil {
		return response{}, err
	}
	return u.parse(answer, continuation)
}

func (u *upstream) send(text string) error {
	if err := u.inStep(); err != nil {
		return err
	}
	if err := u.m.Send([]byte(text + crlf)); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// inStep says whether the mailhost has answered as often as it was asked, as far as that can be told. Where
// its answer decides, one +OK too many would make each later one the answer to the question before, and the
// yes to a name would let any password in.
func (u *upstream) inStep() error {
	if u.m.Decides() && u.in.Pending() {
		return errors.New("mailhost says more than it was asked: which of it is the answer cannot be told")
	}
	return nil
}

// line reads a line; of one that is longer than maxResponse, the beginning.
func (u *upstream) line() (string, error) {
	text, err := u.in.ReadLine(maxResponse)
	if err != nil && !errors.Is(err, line.ErrTooLong) {
		return "", fmt.Errorf("read the response: %w", err)
	}
	return string(text), nil
}

// parse takes a line apart. What is not an answer is an error.
func (u *upstream) parse(text string, continuation bool) (response, error) {
	r := parseResponse(text)
	if r.status == statusOther || r.status == statusMore && !continuation {
		return response{}, fmt.Errorf("not a POP3 response: %q", u.m.Shown(text))
	}
	return r, nil
}

// accepted makes an error of a -ERR to anything but the login, whose answer is judged by package login.
func (u *upstream) accepted(r response, err error) error {
	if err == nil && r.status != statusOK {
		err = fmt.Errorf("answered %q", u.m.Shown(r.text))
	}
	return err
}
