package pop3

import (
	"context"
	"errors"
	"fmt"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/frontend"
	"mailproxy/internal/line"
	"mailproxy/internal/login"
)

// loginMailhost logs in to a POP3 server, see frontend.Protocol.Login.
func loginMailhost(ctx context.Context, m *frontend.Mailhost) error {
	if err := sendable(m); err != nil {
		return &frontend.StepError{Step: frontend.StepUser, Err: err}
	}
	h := &mailhost{m: m, in: line.NewReader(m.Conn)}
	if err := h.greeting(); err != nil {
		return err
	}
	if m.StartTLS != nil {
		if err := h.startTLS(ctx); err != nil {
			return err
		}
	}
	if err := h.forwardClient(); err != nil {
		return err
	}
	if err := h.utf8(); err != nil {
		return err
	}
	if m.Authzid != "" {
		return h.authMaster()
	}
	if err := h.command(frontend.StepUser, "USER "+m.User); err != nil {
		return h.withoutUser(err)
	}
	return rejected(frontend.StepPassword, h.command(frontend.StepPassword, "PASS "+m.Password))
}

// sendable checks what the account database and the client gave us once more, here where it would become a
// command: USER and PASS have no quoting (RFC 1939 section 3), and an empty argument is none.
func sendable(m *frontend.Mailhost) error {
	if err := sasl.Check(m.User, m.Password); err != nil {
		return errors.New("user name or password cannot be sent: it is empty, too long or has control characters")
	}
	if m.Password == "" {
		return errors.New("an empty password cannot be sent")
	}
	return nil
}

// mailhost is the dialogue with a POP3 server until it has said yes. Nothing behind its last line is read.
type mailhost struct {
	m  *frontend.Mailhost
	in *line.Reader
}

func (h *mailhost) greeting() error {
	text, err := h.line()
	for empty := 0; err == nil && text == "" && empty < maxEmpty; empty++ {
		text, err = h.line()
	}
	if err == nil {
		err = h.parse(text)
	}
	if err != nil {
		return &frontend.StepError{Step: frontend.StepGreeting, Err: err}
	}
	return nil
}

// startTLS is STLS (RFC 2595 section 4). Nothing is read between the response and the handshake: what an
// attacker put there in clear text (CVE-2011-0411) meets the TLS layer, which ends the connection.
func (h *mailhost) startTLS(ctx context.Context) error {
	err := h.command(frontend.StepTLS, "STLS")
	if err != nil {
		return err
	}
	if err := h.m.StartTLS(ctx); err != nil {
		return &frontend.StepError{Step: frontend.StepTLS, Err: err}
	}
	h.in = line.NewReader(h.m.Conn)
	return nil
}

// command sends a line and reads the response. Every error is a *frontend.StepError.
func (h *mailhost) command(step frontend.Step, text string) error {
	err := h.send(text)
	if err == nil {
		err = h.response()
	}
	if err != nil {
		return &frontend.StepError{Step: step, Err: err}
	}
	return nil
}

func (h *mailhost) send(text string) error {
	if _, err := h.m.Conn.Write([]byte(text + "\r\n")); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// response reads one line: nil for +OK, *refusal for -ERR, any other error for the rest.
func (h *mailhost) response() error {
	text, err := h.line()
	if err != nil {
		return err
	}
	return h.parse(text)
}

// line reads a line; of one that is longer than maxResponse, the beginning.
func (h *mailhost) line() (string, error) {
	text, err := h.in.ReadLine(maxResponse)
	if err != nil && !errors.Is(err, line.ErrTooLong) {
		return "", fmt.Errorf("read the response: %w", err)
	}
	return string(text), nil
}

// parse takes a line apart. What it shows of it in errors, which end in the log, is short and without the
// password, in case a server repeats what it did not understand.
func (h *mailhost) parse(text string) error {
	status, code := parseResponse(text)
	if status == statusOK {
		return nil
	}
	shown := h.m.Redact(text)
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

// rejected turns a mailhost's -ERR to a login command into what the table in package login judges, and leaves
// the rest as it is.
func rejected(step frontend.Step, err error) error {
	if r, ok := errors.AsType[*refusal](err); ok {
		return &frontend.RejectedError{Step: step, Answer: login.Answer{Code: r.code, Text: r.text}}
	}
	return err
}
