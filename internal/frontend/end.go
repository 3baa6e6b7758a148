package frontend

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"syscall"
	"time"

	"mailproxy/internal/facts"
	"mailproxy/internal/launch"
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

// Begin sets the deadlines of the client's connection and has it interrupted when ctx ends. The function it
// returns undoes that. Programs need not call it, Program.Run does; tests of a dialogue do.
func (s *Session) Begin(ctx context.Context) (end func()) {
	if s.System == nil {
		s.System = RealSystem()
	}
	if s.Started.IsZero() {
		s.Started = s.System.Now()
	}
	s.limitLog()
	s.Settings = maps.Clone(s.Settings)
	s.facts = facts.Take(s.Settings)
	s.ctx = ctx
	noDelay(s.Conn)
	_ = s.Conn.SetDeadline(s.Started.Add(s.Config.LoginTimeout))
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.interrupted = true
		if !s.released {
			_ = s.Conn.SetReadDeadline(past())
		}
	})
	return func() { stop() }
}

// SetConn replaces the connection after STARTTLS. Deadlines and the interrupt by SIGTERM apply to the new
// one.
func (s *Session) SetConn(conn launch.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Conn, s.TLS = conn, true
	_ = conn.SetDeadline(s.Started.Add(s.Config.LoginTimeout))
	if s.interrupted {
		_ = conn.SetReadDeadline(past())
	}
}

// release takes the limits of the time before the login off the connection and the log.
func (s *Session) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released = true
	s.Log = s.Log.Always()
	_ = s.Conn.SetDeadline(time.Time{})
}

// Why says what an error of reading from or writing to the client means, and what ErrEnd does. ctx is the one
// that the dialogue was given.
func (s *Session) Why(ctx context.Context, err error) End {
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
func (s *Session) Farewell(text string) {
	_ = s.Conn.SetWriteDeadline(s.System.Now().Add(time.Second))
	_, _ = io.WriteString(s.Conn, text)
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
