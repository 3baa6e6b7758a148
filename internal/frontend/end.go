package frontend

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"mailproxy/relay"
)

// End is why a session ends before a login.
type End int

// The ends of a session.
const (
	// EndClosed: the client closed the connection, or it broke.
	EndClosed End = iota
	// EndTimeout: the client had its time.
	EndTimeout
	// EndShutdown: SIGTERM or SIGHUP.
	EndShutdown
)

// past is a deadline that ends every wait.
func past() time.Time { return time.Unix(1, 0) }

// Why says what an error of reading from or writing to the client means, and what ErrEnd does. ctx is the one
// that the dialogue was given.
func (s *Conn) Why(ctx context.Context, err error) End {
	switch {
	case ctx.Err() != nil:
		return EndShutdown
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, ErrEnd):
		return EndTimeout
	}
	return EndClosed
}

// Farewell writes a last text to the client, even when the session's time is over. A client that does not
// take it within a second does not get it: a line fits into any connection that is read at all.
func (s *Conn) Farewell(text string) { Farewell(s.Client, s.System.Now(), text) }

// Farewell writes a last text to a connection that nobody serves, as Conn.Farewell does.
func Farewell(conn net.Conn, now time.Time, text string) {
	_ = conn.SetWriteDeadline(now.Add(time.Second))
	_, _ = io.WriteString(conn, text)
}

// cause describes an error for the log, without Go's own view of sockets.
func cause(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, relay.ErrTruncated):
		return "TLS stream cut off"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "stopped by a signal"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.As(err, &op) && op.Err != nil:
		return op.Err.Error()
	}
	return err.Error()
}
