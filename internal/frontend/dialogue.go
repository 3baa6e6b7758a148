package frontend

import (
	"context"
	"errors"
	"io"
	"strconv"

	"mailproxy/internal/line"
	"mailproxy/internal/login"
)

// Dialogue is a protocol's dialogue with one client before its login. It reads from Conn.In and answers with
// Conn.Reply; the time of every read and write is limited already.
type Dialogue interface {
	// Greeting is the first reply.
	Greeting() string
	// Next reads one command, acts and replies. An error ends the session: an Exit; an error of the connection;
	// one that Conn.Login does not leave to the dialogue.
	Next(ctx context.Context) error
	// Farewell is the last reply to a client whose session such an error ends; "" = it is told nothing.
	Farewell(end login.End) string
	// Capabilities is what a client is told that it can do, one capability an element.
	Capabilities() []string
}

// Exit ends a session. It is the exit status of a program that serves one connection.
type Exit int

// The exit statuses.
const (
	// Done: the session went as it should, whether there was a login or not.
	Done Exit = 0
	// Failed: something that is needed failed, or the client was sent away.
	Failed Exit = 1
)

// Error names the status, which nobody reads.
func (e Exit) Error() string { return "session over, status " + strconv.Itoa(int(e)) }

// serve holds the dialogue with the client until it has logged in and its session is over, or until it
// leaves.
func (c *Conn) serve(ctx context.Context) Exit {
	c.In = line.NewReader(c.Client)
	defer c.In.Clear()
	d := c.server.Protocol.NewDialogue(c)
	c.LogConnection()
	err := c.Reply(d.Greeting())
	for err == nil {
		err = d.Next(ctx)
	}
	if status, ok := errors.AsType[Exit](err); ok {
		return status
	}
	end := c.why(ctx, err)
	if text := d.Farewell(end); text != "" {
		c.Farewell(text)
	}
	c.LogDisconnected(end)
	if end == login.EndTimeout {
		return Failed
	}
	return Done
}

// Reply writes to the client: a line or several of them, without the end of the last one.
func (c *Conn) Reply(text string) error {
	n, err := io.WriteString(c.Client, text+"\r\n")
	c.sent += int64(n)
	return err
}

// Bye writes the last reply to a client that is sent away, and may have sent more than was read. That it has
// left already makes no difference.
func (c *Conn) Bye(status Exit, text string) error {
	if err := c.Reply(text); err == nil {
		Linger(c.Client, c.server.System.Now())
	}
	return status
}

// LogLogout is login.Session's, for the bytes of this connection.
func (c *Conn) LogLogout() { c.Session.LogLogout(c.In.Count(), c.sent) }
