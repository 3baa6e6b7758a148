package pop3

import (
	"context"
	"errors"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/frontend"
	"mailproxy/internal/line"
	"mailproxy/internal/login"
)

// maxErrors in a row end the session. A client that pipelined a whole session after a wrong password stays
// below.
const maxErrors = 100

// dialogue is one client's session in the AUTHORIZATION state (RFC 1939 section 4).
type dialogue struct {
	s *frontend.Conn
	// name is USER's argument. It survives a failed PASS, as it does in Courier.
	name string
	// utf8 says that the client has sent UTF8 (RFC 6856).
	utf8 bool
	// errors counts the bad commands in a row.
	errors int
}

// command is one POP3 command.
type command struct {
	name string
	// run acts and replies. arg is what follows the command's name and one blank. Errors are those of Next, and
	// those of a SASL exchange.
	run func(d *dialogue, ctx context.Context, arg string) error
}

// commands are those of the AUTHORIZATION state.
func commands() []command {
	return []command{
		{"CAPA", (*dialogue).capability},
		{"LANG", (*dialogue).lang},
		{"UTF8", (*dialogue).useUTF8},
		{"USER", (*dialogue).user},
		{"PASS", (*dialogue).pass},
		{"AUTH", (*dialogue).authenticate},
		{"STLS", (*dialogue).startTLS},
		{"QUIT", (*dialogue).logout},
		{"XCLIENT", (*dialogue).clientInfo},
	}
}

func newDialogue(s *frontend.Conn) frontend.Dialogue { return &dialogue{s: s} }

// Greeting is part of frontend.Dialogue.
func (d *dialogue) Greeting() string { return textReady }

// Farewell is part of frontend.Dialogue. A client whose time is over is told nothing (RFC 1939 section 3).
func (d *dialogue) Farewell(end login.End) string {
	if end == login.EndShutdown {
		return textShutdown
	}
	return ""
}

// Next is part of frontend.Dialogue.
func (d *dialogue) Next(ctx context.Context) error {
	text, err := d.s.In.ReadLine(maxLongLine)
	if err != nil && !errors.Is(err, line.ErrTooLong) {
		return err
	}
	if !d.s.CountCommand() {
		d.s.LogDisconnected(login.EndClosed)
		return d.s.Bye(frontend.Failed, textCommands)
	}
	if err != nil || len(text) > maxLine && !mayBeLong(text) {
		return d.bad(textTooLong)
	}
	name, arg, ok := parseLine(text)
	if !ok {
		return d.bad(textError)
	}
	err = d.dispatch(ctx, name, arg)
	switch {
	case errors.Is(err, sasl.ErrUnknownMechanism):
		return d.bad(textMechanism)
	case errors.Is(err, sasl.ErrAborted):
		return d.bad(textAborted)
	}
	return err
}

func (d *dialogue) dispatch(ctx context.Context, name, arg string) error {
	for _, c := range commands() {
		if c.name == name {
			return c.run(d, ctx, arg)
		}
	}
	return d.bad(textError)
}

// ok replies to a good command, which ends a row of bad ones.
func (d *dialogue) ok(text string) error {
	d.errors = 0
	return d.s.Reply(text)
}

// bad replies to an invalid command, and ends the session after too many.
func (d *dialogue) bad(text string) error {
	d.errors++
	if d.errors < maxErrors {
		return d.s.Reply(text)
	}
	d.s.LogDisconnected(login.EndClosed)
	return d.s.Bye(frontend.Done, textViolations)
}
