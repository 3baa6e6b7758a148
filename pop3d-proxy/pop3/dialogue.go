package pop3

import (
	"context"
	"errors"
	"io"

	"mailproxy/internal/frontend"
	"mailproxy/internal/line"
	"mailproxy/internal/login"
)

// maxErrors in a row end the session. A client that pipelined a whole session after a wrong password stays
// below.
const maxErrors = 100

// Exit statuses of a session.
const (
	exitOK     = 0 // the session went as it should, whether there was a login or not
	exitFailed = 1 // a server that we need failed, or the client was cut off
)

// dialogue is one client's session in the AUTHORIZATION state (RFC 1939 section 4).
type dialogue struct {
	s  *frontend.Conn
	in *line.Reader
	// name is USER's argument. It survives a failed PASS, as it does in Courier.
	name string
	// utf8 says that the client has sent UTF8 (RFC 6856).
	utf8 bool
	// errors counts the bad commands in a row.
	errors int
	// rcvd and sent count the bytes before STLS (rcvd) and in all (sent).
	rcvd, sent int64
}

// command is one POP3 command.
type command struct {
	name string
	// run acts and replies. arg is what follows the command's name and one blank. An error is one of the
	// connection, or an *exit when the session is over.
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
	return d.reply(textReady)
}

func newDialogue(s *frontend.Conn) *dialogue {
	d := &dialogue{s: s}
	d.listen()
	return d
}

// listen begins to read from the session's connection, afresh after STLS.
func (d *dialogue) listen() {
	if d.in != nil {
		d.rcvd += d.in.Count()
		d.in.Clear()
	}
	d.in = line.NewReader(d.s.Client)
}

// next reads one command and runs it.
func (d *dialogue) next(ctx context.Context) error {
	text, err := d.in.ReadLine(maxLongLine)
	if err != nil && !errors.Is(err, line.ErrTooLong) {
		return err
	}
	if !d.s.CountCommand() {
		d.s.LogDisconnected(login.EndClosed)
		return d.bye(exitFailed, textCommands)
	}
	if err != nil || len(text) > maxLine && !mayBeLong(text) {
		return d.bad(textTooLong)
	}
	name, arg, ok := parseLine(text)
	if !ok {
		return d.bad(textError)
	}
	return d.dispatch(ctx, name, arg)
}

func (d *dialogue) dispatch(ctx context.Context, name, arg string) error {
	for _, c := range commands() {
		if c.name == name {
			return c.run(d, ctx, arg)
		}
	}
	return d.bad(textError)
}

// reply writes one line.
func (d *dialogue) reply(text string) error {
	n, err := io.WriteString(d.s.Client, text+crlf)
	d.sent += int64(n)
	return err
}

// ok replies to a good command, which ends a row of bad ones.
func (d *dialogue) ok(text string) error {
	d.errors = 0
	return d.reply(text)
}

// bad replies to a command that is none, and ends the session after too many.
func (d *dialogue) bad(text string) error {
	d.errors++
	if d.errors < maxErrors {
		return d.reply(text)
	}
	d.s.LogDisconnected(login.EndClosed)
	return d.bye(exitOK, textViolations)
}

// bye sends the client away, which may have sent more commands by then. A client that has left already is
// none the worse.
func (d *dialogue) bye(status int, text string) error {
	if err := d.reply(text); err == nil {
		d.s.Linger()
	}
	return &exit{status}
}

// endSession ends a session that err, an error of the connection or of the login, has made an end of.
func (d *dialogue) endSession(ctx context.Context, err error) int {
	end := d.s.Why(ctx, err)
	if end == login.EndShutdown {
		d.s.Farewell(textShutdown + crlf)
	}
	d.s.LogDisconnected(end)
	if end == login.EndTimeout { // RFC 1939 section 3: the connection is closed without a word
		return exitFailed
	}
	return exitOK
}
