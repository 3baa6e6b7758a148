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

// why says what an error of reading from or writing to the client means, and what login.ErrEnd does. ctx is
// the one that the dialogue was given.
func (c *Conn) why(ctx context.Context, err error) login.End {
	switch {
	case ctx.Err() != nil:
		return login.EndShutdown
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, login.ErrEnd):
		return login.EndTimeout
	}
	return login.EndClosed
}

// Farewell writes a last reply to the client, as Reply does, even when the session's time is over. A client
// that does not take it within a second does not get it: a line fits into any connection that is read at all.
func (c *Conn) Farewell(text string) { Farewell(c.Client, c.server.System.Now(), text) }

// Farewell writes a last reply to a connection without a Conn, as Conn.Farewell does.
func Farewell(conn net.Conn, now time.Time, text string) {
	_ = conn.SetWriteDeadline(now.Add(time.Second))
	_, _ = io.WriteString(conn, text+"\r\n")
}

// maxUnread bounds what is read and discarded after the last reply to a client.
const maxUnread = 1 << 20

// Linger waits, after the last reply, until the client has left or has nothing more to say. It is for a
// client that may have sent more than was read: a connection that is closed with unread bytes in it is reset,
// and the client may lose our last words. One second is enough for a client that listens.
func Linger(conn launch.Conn, now time.Time) {
	_ = conn.CloseWrite()
	_ = conn.SetReadDeadline(now.Add(time.Second))
	_, _ = io.CopyN(io.Discard, conn, maxUnread)
}
