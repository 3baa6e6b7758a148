package pop3

import (
	"context"
	"errors"
	"io"
	"strings"

	"mailproxy/internal/frontend"
	"mailproxy/internal/line"
	"mailproxy/internal/login"
)

const (
	// maxLine bounds a client's line without its end, in bytes: the longest name and password as SASL PLAIN
	// with an initial response. RFC 2449 section 4 asks for 255, RFC 5034 section 4 for longer ones in AUTH.
	maxLine = 12 * 1024
	// maxErrors in a row end the session. A client that pipelined a whole session behind a wrong password
	// stays below.
	maxErrors = 100
)

// Exit statuses.
const (
	exitOK   = 0 // the session went as it should, whether there was a login or not
	exitFail = 1 // a server that we need failed, or the client was cut off
)

// The replies that more than one command gives. Codes in brackets: RFC 2449 section 8, RFC 3206.
const (
	replyInvalid     = "-ERR Invalid command."
	replyTLSRequired = "-ERR TLS required to log in."
	replyShutdown    = "-ERR [SYS/TEMP] Server shut down by signal, please try again later"
	replyTemporary   = "-ERR [SYS/TEMP] Temporary problem, please try again later"
)

// dialogue is one client's session in the AUTHORIZATION state (RFC 1939 section 4).
type dialogue struct {
	s  *frontend.Conn
	in *line.Reader
	// user is USER's argument. It survives a failed PASS, as it does in Courier.
	user string
	// utf8 says that the client has sent UTF8 (RFC 6856).
	utf8 bool
	// errors counts the bad commands in a row.
	errors int
	// received counts the bytes read before STLS, sent all bytes written.
	received, sent int64
	// status is the exit status, once over.
	over   bool
	status int
}

// command is one POP3 command.
type command struct {
	name string
	// run acts and replies. arg is what follows the command's name and one blank. An error is one of the
	// connection.
	run func(d *dialogue, ctx context.Context, arg string) error
}

// commands are those of the AUTHORIZATION state.
func commands() []command {
	return []command{
		{"CAPA", (*dialogue).capa},
		{"LANG", (*dialogue).lang},
		{"UTF8", (*dialogue).utf8Command},
		{"USER", (*dialogue).userCommand},
		{"PASS", (*dialogue).pass},
		{"AUTH", (*dialogue).auth},
		{"STLS", (*dialogue).stls},
		{"QUIT", (*dialogue).quit},
		{"XCLIENT", (*dialogue).xclient},
	}
}

// serve holds the dialogue with the client, and what comes after it, and returns the exit status.
func serve(ctx context.Context, s *frontend.Conn) int {
	d := &dialogue{s: s, in: line.NewReader(s.Client)}
	defer func() { d.in.Clear() }()
	err := d.open()
	for err == nil && !d.over {
		err = d.next(ctx)
	}
	if err != nil {
		end := s.Why(ctx, err)
		switch end {
		case login.EndShutdown:
			s.Farewell(replyShutdown + "\r\n")
		case login.EndTimeout: // RFC 1939 section 3: the connection is closed without a word
			d.status = exitFail
		}
		s.LogDisconnected(end)
	}
	return d.status
}

// open greets the client.
func (d *dialogue) open() error {
	d.s.LogConnection()
	return d.reply("+OK Hello there.")
}

// next reads one command and runs it.
func (d *dialogue) next(ctx context.Context) error {
	text, err := d.in.ReadLine(maxLine)
	if err != nil && !errors.Is(err, line.ErrTooLong) {
		return err
	}
	if !d.s.CountCommand() {
		d.end(exitFail)
		d.s.LogDisconnected(login.EndClosed)
		return d.reply("-ERR Too many commands without a login.")
	}
	if err != nil {
		return d.bad("-ERR Line too long.")
	}
	name, arg, ok := parseLine(text)
	if !ok {
		return d.bad(replyInvalid)
	}
	for _, c := range commands() {
		if c.name == name {
			return c.run(d, ctx, arg)
		}
	}
	return d.bad(replyInvalid)
}

// parseLine splits a line into the command's name in upper case and the rest behind one blank or tab; more
// blanks belong to the rest, a password may begin with one. Blanks in front are dropped, as Courier does. ok
// is false for a line with a NUL, CR or any other control character but the tab that may separate.
func parseLine(text []byte) (name, arg string, ok bool) {
	s := strings.TrimLeft(string(text), " \t")
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		name = s
	} else {
		name, arg = s[:i], s[i+1:]
	}
	for j := range len(s) {
		if (s[j] < 0x20 && s[j] != '\t') || s[j] == 0x7f {
			return "", "", false
		}
	}
	return strings.ToUpper(name), arg, true
}

// reply writes one line.
func (d *dialogue) reply(text string) error {
	n, err := io.WriteString(d.s.Client, text+"\r\n")
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
	d.end(exitOK)
	d.s.LogDisconnected(login.EndClosed)
	return d.reply("-ERR Too many invalid commands.")
}

// end makes the command the last one.
func (d *dialogue) end(status int) { d.over, d.status = true, status }
