package frontend

import "context"

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

// Why says what an error of reading from or writing to the client means. ctx is the one that the dialogue was given.
func (s *Session) Why(ctx context.Context, err error) End { return EndClosed }

// SetConn replaces the connection after STARTTLS. Deadlines and the interrupt by SIGTERM apply to the new one.
func (s *Session) SetConn(conn inetdConn) {}

// Farewell writes a last text to the client, within five seconds, even when the session's time is over.
func (s *Session) Farewell(text string) {}
