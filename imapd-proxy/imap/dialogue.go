package imap

import (
	"context"
	"errors"
	"io"
	"strings"

	"mailproxy/internal/frontend"
	"mailproxy/internal/line"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
)

// The limits on how many commands in a row may be wrong; the last of them ends the session.
const (
	maxErrors = 10
	// maxErrorsAfterLogin holds once a login was refused: a client may have sent a whole session after it.
	maxErrorsAfterLogin = 100
)

// Exit statuses of a session.
const (
	exitOK     = 0
	exitFailed = 1 // the client was turned away
)

// dialogue is the state of one client's session before login: not authenticated (RFC 3501 section 3.1).
type dialogue struct {
	s   *frontend.Conn
	in  *line.Reader
	cmd parser
	// errors counts wrong commands in a row.
	errors int
	// maxErrors is how many it may become.
	maxErrors int
	// clientID are the fields of the client's last ID.
	clientID []mailhost.IDField
	// rcvd and sent count the bytes before STARTTLS (rcvd) and in all (sent).
	rcvd, sent int64
	// identified is set when an ID has been logged.
	identified bool
}

// command is one entry of the command table. run parses its arguments, acts and replies; it returns errSyntax
// and the parser's other errors, errors of the connection, and an *exit when the session is over.
type command struct {
	name string
	run  func(d *dialogue, ctx context.Context, tag string) error
}

// commands are those that a client may use before it has logged in.
func commands() []command {
	return []command{
		{"CAPABILITY", (*dialogue).capability},
		{"NOOP", (*dialogue).noop},
		{"LOGOUT", (*dialogue).logout},
		{"LOGIN", (*dialogue).login},
		{"AUTHENTICATE", (*dialogue).authenticate},
		{"ID", (*dialogue).clientInfo},
		{"STARTTLS", (*dialogue).startTLS},
	}
}

// exit ends a session.
type exit struct{ status int }

func (e *exit) Error() string { return "session over" }

// serve holds the dialogue with one client until it has logged in and its session is over, or until it
// leaves. It returns the exit status. The frontend limits the time of every read and write.
func serve(ctx context.Context, s *frontend.Conn) int {
	d := newDialogue(s)
	defer func() { d.in.Clear() }()
	err := d.open()
	for err == nil {
		err = d.next(ctx)
	}
	if e, ok := errors.AsType[*exit](err); ok {
		return e.status
	}
	return d.endSession(ctx, err)
}

// open greets the client.
func (d *dialogue) open() error {
	d.s.LogConnection()
	return d.send(d.greeting())
}

func newDialogue(s *frontend.Conn) *dialogue {
	d := &dialogue{s: s, maxErrors: maxErrors}
	d.listen()
	return d
}

// listen begins to read from the session's connection, afresh after STARTTLS.
func (d *dialogue) listen() {
	if d.in != nil {
		d.rcvd += d.in.Count()
		d.in.Clear()
	}
	d.in = line.NewReader(d.s.Client)
	d.cmd = parser{in: d.in, proceed: func() error { return d.send(textLiteral + crlf) }}
}

// next reads one command and runs it. The error ends the session.
func (d *dialogue) next(ctx context.Context) error {
	tag, err := d.cmd.begin()
	if (err == nil || errors.Is(err, errSyntax) || errors.Is(err, errTooLong)) && !d.s.CountCommand() {
		return d.bye(textCommands)
	}
	if err == nil {
		err = d.dispatch(ctx, tag)
	}
	switch {
	case err == nil:
		d.errors = 0
		return nil
	case errors.Is(err, errSyntax), errors.Is(err, errTooLong), errors.Is(err, errMechanism):
		if derr := d.cmd.discard(); derr != nil {
			return derr
		}
		return d.protocolError(tag, err)
	default:
		return err
	}
}

func (d *dialogue) dispatch(ctx context.Context, tag string) error {
	name := d.cmd.word()
	if err := d.cmd.separated(); err != nil {
		return err
	}
	for _, c := range commands() {
		if strings.EqualFold(c.name, name) {
			return c.run(d, ctx, tag)
		}
	}
	return errSyntax
}

// protocolError answers a command in error. Too many in a row end the session: something that is not an IMAP
// client, or a client that has lost its way, talks to us.
func (d *dialogue) protocolError(tag string, err error) error {
	d.errors++
	if d.errors >= d.maxErrors {
		d.s.LogViolations()
		return d.bye(textViolations)
	}
	reply, text := "", textError
	switch {
	case errors.Is(err, errTooLong):
		reply = "* " + textTooLong + crlf
	case errors.Is(err, errMechanism):
		text = textMechanism
	}
	if tag == "" {
		tag = "*"
	}
	return d.send(reply + tag + " " + text + crlf)
}

// send writes to the client.
func (d *dialogue) send(reply string) error {
	n, err := io.WriteString(d.s.Client, reply)
	d.sent += int64(n)
	return err
}

// bye says goodbye and ends the session with exitFailed.
func (d *dialogue) bye(text string) error {
	if err := d.send("* BYE " + text + crlf); err != nil {
		return err
	}
	d.s.Linger()
	return &exit{exitFailed}
}

// endSession ends a session that err, an error of the connection or of the login, has made an end of.
func (d *dialogue) endSession(ctx context.Context, err error) int {
	if errors.Is(err, errFlood) || errors.Is(err, line.ErrEndless) {
		d.s.Farewell("* BYE " + textFlood + crlf)
		d.s.LogDisconnected(login.EndClosed)
		return exitFailed
	}
	end := d.s.Why(ctx, err)
	switch end {
	case login.EndTimeout:
		d.s.Farewell("* BYE " + textTimeout + crlf)
	case login.EndShutdown:
		d.s.Farewell("* BYE " + textShutdown + crlf)
	}
	d.s.LogDisconnected(end)
	if end == login.EndTimeout {
		return exitFailed
	}
	return exitOK
}
