package pop3

import (
	"context"
	"errors"
	"fmt"

	"mailproxy/internal/line"
	"mailproxy/internal/mailhost"
)

// loginAtMailhost logs in to a POP3 server, see login.Protocol.
func loginAtMailhost(ctx context.Context, m *mailhost.Conn) error {
	if err := sendable(m); err != nil {
		return &mailhost.StepError{Step: mailhost.StepUser, Err: err}
	}
	u := &upstream{m: m, in: line.NewReader(m.Conn)}
	defer func() { u.in.Clear() }() // a mailhost may repeat what it was told
	if err := u.greeting(); err != nil {
		return err
	}
	if m.StartTLS != nil {
		if err := u.startTLS(ctx); err != nil {
			return err
		}
	}
	if err := u.forwardClient(); err != nil {
		return err
	}
	if err := u.utf8(); err != nil {
		return err
	}
	if err := u.login(); err != nil {
		return err
	}
	if err := u.inStep(); err != nil {
		return &mailhost.StepError{Step: mailhost.StepLogin, Err: err}
	}
	m.Answer = []byte(textProxied + crlf)
	if m.Local { // the words are the local server's
		m.Answer = []byte(u.final + crlf)
	}
	return nil
}

// upstream is the dialogue with a POP3 server until it has said yes. Nothing behind its last line is read.
type upstream struct {
	m  *mailhost.Conn
	in *line.Reader
	// final is the last +OK.
	final string
}

func (u *upstream) greeting() error {
	text, err := u.line()
	for empty := 0; err == nil && text == "" && empty < maxEmpty; empty++ {
		text, err = u.line()
	}
	if err == nil {
		err = u.parse(text)
	}
	if err != nil {
		return &mailhost.StepError{Step: mailhost.StepGreeting, Err: err}
	}
	return nil
}

// startTLS is STLS (RFC 2595 section 4). Nothing is read between the response and the handshake: what an
// attacker put there in clear text (CVE-2011-0411) meets the TLS layer, which ends the connection.
func (u *upstream) startTLS(ctx context.Context) error {
	err := u.command(mailhost.StepTLS, "STLS")
	if err != nil {
		return err
	}
	if err := u.m.StartTLS(ctx); err != nil {
		return &mailhost.StepError{Step: mailhost.StepTLS, Err: err}
	}
	u.in = line.NewReader(u.m.Conn)
	return nil
}

// command sends a line and reads the response. Every error is a *mailhost.StepError.
func (u *upstream) command(step mailhost.Step, text string) error {
	err := u.send(text)
	if err == nil {
		err = u.response()
	}
	if err != nil {
		return &mailhost.StepError{Step: step, Err: err}
	}
	return nil
}

func (u *upstream) send(text string) error {
	if err := u.inStep(); err != nil {
		return err
	}
	if err := u.m.Send([]byte(text + "\r\n")); err != nil {
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

// response reads one line: nil for +OK, *refusal for -ERR, any other error for the rest.
func (u *upstream) response() error {
	text, err := u.line()
	if err != nil {
		return err
	}
	return u.parse(text)
}

// line reads a line; of one that is longer than maxResponse, the beginning.
func (u *upstream) line() (string, error) {
	text, err := u.in.ReadLine(maxResponse)
	if err != nil && !errors.Is(err, line.ErrTooLong) {
		return "", fmt.Errorf("read the response: %w", err)
	}
	return string(text), nil
}

// parse takes a line apart. What it shows of it in errors, which end in the log, is short and without the
// password, in case a server repeats what it did not understand.
func (u *upstream) parse(text string) error {
	status, code := parseResponse(text)
	if status == statusOK {
		u.final = text
		return nil
	}
	shown := u.m.Redact(text)
	if len(shown) > maxShown {
		shown = shown[:maxShown] + "..."
	}
	if status == statusErr {
		return &refusal{code: code, text: shown}
	}
	return fmt.Errorf("not a POP3 response: %q", shown)
}

// refusal is a mailhost's -ERR.
type refusal struct {
	// code is the response code in upper case without its brackets (RFC 2449 section 8), empty if there is
	// none.
	code string
	// text is the line as it may be shown.
	text string
}

func (r *refusal) Error() string { return fmt.Sprintf("answered %q", r.text) }
