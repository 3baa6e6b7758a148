package handoff

import (
	"context"
	"net"
	"sync"
	"time"

	"mailproxy/internal/accept"
	"mailproxy/internal/connection"
	"mailproxy/internal/guard"
	"mailproxy/internal/peercred"
)

const (
	takeTime  = 60 * time.Second // for an answer to be taken
	takeAtEnd = time.Second      // for one that is under way at the end
)

// Handler answers a message that has come on c. The message's file descriptors are its own to close; more
// says that it is ready for another message.
type Handler func(c *net.UnixConn, m *Message, fds []int) (more bool)

// Server answers the callers of a SOCK_SEQPACKET socket.
type Server struct {
	// Allow are those who may call, Denied is told of others.
	Allow  *peercred.Set
	Denied func(error)
	// Most is how many callers are served at a time; others wait in the listen queue.
	Most int
	// Silence is how long a caller may say nothing.
	Silence time.Duration
	Handle  Handler
	// NotAccepted is told of what is against accepting callers, once a minute.
	NotAccepted func(error)
	// Log writes one line, without a line end.
	Log func(line string)
}

// Serve answers until ctx ends and every message that has been read is answered, so that nothing changes any
// more; l stays open. It hangs up then, and new callers wait in the listen queue. An l that is closed
// meanwhile is the end as well; the error is for one that does not listen.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	slots := make(chan struct{}, s.Most)
	return accept.Serve(ctx, l, slots, s.NotAccepted, func(conn net.Conn) {
		running.Add(1)
		guard.Go(s.Log, "a conversation", func() {
			defer running.Done()
			defer func() { <-slots }()
			c := conn.(*net.UnixConn)
			defer c.Close()
			if err := s.Allow.Check(c); err != nil {
				s.Denied(err)
				return
			}
			Converse(ctx, c, s.Silence, s.Handle)
		})
	})
}

// Converse answers the messages on c until there are no more, until it has been silent for as long as it may
// be (0: for ever), or until the end of ctx: then every message is either answered or still to be read. c
// stays open.
func Converse(ctx context.Context, c *net.UnixConn, silence time.Duration, handle Handler) {
	hurry := func() { _ = c.SetWriteDeadline(time.Now().Add(takeAtEnd)) }
	defer connection.Interrupt(ctx, func(past time.Time) error {
		hurry()
		return c.SetReadDeadline(past)
	})()
	for more := true; more; {
		var limit time.Time
		if silence > 0 {
			limit = time.Now().Add(silence)
		}
		_ = c.SetReadDeadline(limit)
		if ctx.Err() != nil { // it may have ended before the deadline was set
			return
		}
		m, fds, err := Receive(c)
		if err != nil {
			CloseAll(fds)
			return
		}
		_ = c.SetWriteDeadline(time.Now().Add(takeTime))
		if ctx.Err() != nil {
			hurry()
		}
		more = handle(c, m, fds)
	}
}
