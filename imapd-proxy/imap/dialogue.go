package imap

import (
	"context"
	"errors"
	"strings"

	"mailproxy/authlib/sasl"
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

// dialogue is the state of one client's session before login: not authenticated (RFC 3501 section 3.1).
type dialogue struct {
	s   *frontend.Conn
	cmd parser
	// errors counts wrong commands in a row.
	errors int
	// maxErrors is how many it may become.
	maxErrors int
	// clientID are the fields of the client's last ID.
	clientID []mailhost.IDField
	// identified is set when an ID has been logged.
	identified bool
}

// command is one entry of the command table. run parses its arguments, acts and replies; it returns the
// errors of Next, errSyntax and the parser's other ones, and those of a SASL exchange.
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

func newDialogue(s *frontend.Conn) frontend.Dialogue {
	d := &dialogue{s: s, maxErrors: maxErrors}
	d.cmd = parser{in: s.In, proceed: func() error { return s.Reply(textLiteral) }}
	return d
}

// Greeting is part of frontend.Dialogue. The capability list spares clients a command (RFC 3501 section 7.1).
func (d *dialogue) Greeting() string {
	return "* OK [CAPABILITY " + d.capabilities() + "] " + textReady
}

// Capabilities is part of frontend.Dialogue.
func (d *dialogue) Capabilities() []string { return strings.Fields(d.capabilities()) }

// Farewell is part of frontend.Dialogue.
func (d *dialogue) Farewell(end login.End) string {
	switch end {
	case login.EndTimeout:
		return "* BYE " + textTimeout
	case login.EndShutdown:
		return "* BYE " + textShutdown
	}
	return ""
}

// Next is part of frontend.Dialogue.
func (d *dialogue) Next(ctx context.Context) error {
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
	case errors.Is(err, errSyntax), errors.Is(err, errTooLong),
		errors.Is(err, sasl.ErrUnknownMechanism), errors.Is(err, sasl.ErrAborted):
		wrong := err
		if err = d.cmd.discard(); err == nil {
			err = d.protocolError(tag, wrong)
		}
	}
	if errors.Is(err, errFlood) || errors.Is(err, line.ErrEndless) {
		d.s.Farewell("* BYE " + textFlood)
		d.s.LogDisconnected(login.EndClosed)
		return frontend.Failed
	}
	return err
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
	case errors.Is(err, sasl.ErrUnknownMechanism):
		text = textMechanism
	}
	if tag == "" {
		tag = "*"
	}
	return d.s.Reply(reply + tag + " " + text)
}

// bye says goodbye to a client that is sent away.
func (d *dialogue) bye(text string) error { return d.s.Bye(frontend.Failed, "* BYE "+text) }
