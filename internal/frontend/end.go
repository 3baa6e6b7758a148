package frontend

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"mailproxy/internal/launch"
	"mailproxy/internal/login"
)

// past is a deadline that ends every wait.
func past() time.Time { return time.Unix(1, 0) }

// Why says what an error of reading from or writing to the client means, and what login.ErrEnd does. ctx is
// the one that the dialogue was given.
func (c *Conn) Why(ctx context.Context, err error) login.End {
	switch {
	case ctx.Err() != nil:
		return login.EndShutdown
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, login.ErrEnd):
		return login.EndTimeout
	}
	return login.EndClosed
}

// Farewell writes a last text to the client, even when the session's time is over. A client that does not
// take it within a second does not get it: a line fits into any connection that is read at all.
func (c *Conn) Farewell(text string) { Farewell(c.Client, c.server.System.Now(), text) }

// Farewell writes a last text to a connection that nobody serves, as Conn.Farewell does.
func Farewell(conn net.Conn, now time.Time, text string) {
	_ = conn.SetWriteDeadline(now.Add(time.Second))
	_, _ = io.WriteString(conn, text)
}

// maxUnread bounds what is read, and thrown away, of a client that is sent away.
const maxUnread = 1 << 20

// Linger waits, after the last reply, until the client has left or has nothing more to say. It is for a
// client that may have sent more than was read.
func (c *Conn) Linger() { Linger(c.Client, c.server.System.Now()) }

// Linger does so for a connection that nobody serves. A connection that is closed with unread bytes in it is
// reset, and the client may lose our last words. One second is enough for a client that listens.
func Linger(conn launch.Conn, now time.Time) {
	_ = conn.CloseWrite()
	_ = conn.SetReadDeadline(now.Add(time.Second))
	_, _ = io.CopyN(io.Discard, conn, maxUnread)
}

// ErrHome: the account's home cannot be entered, or the local server or the relaying did not begin after this
// process had become another user, or half of it. The session must end with a temporary failure.
var ErrHome = errors.New("home directory cannot be entered")
