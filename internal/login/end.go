package login

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

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

// Cause describes an error for the log, without Go's own view of sockets.
func Cause(err error) string {
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
