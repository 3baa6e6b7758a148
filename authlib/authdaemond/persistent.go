package main

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/authlib"
	"mailproxy/internal/accept"
	"mailproxy/internal/connection"
	"mailproxy/internal/guard"
	"mailproxy/internal/loglimit"
)

// Persistent connections: the second socket's, see package authlib for what is said on them. A connection
// that is silent holds a goroutine and no buffer; a slot is held from the last byte of a question until there
// is an answer, and not while the client reads it.

var (
	// errTurnedAway says that a request found no slot.
	errTurnedAway = errors.New("too many requests under way and waiting")
	// errFault says that a request ended in a panic, which is in the log.
	errFault = errors.New("panic")
)

// servePersistent accepts persistent connections until ctx ends.
func (s *server) servePersistent(ctx context.Context, l *net.UnixListener) error {
	return accept.Serve(ctx, l, nil, s.notAccepted, func(conn net.Conn) {
		guard.Go(s.log.Line, "a connection", func() { s.persistent(ctx, conn.(*net.UnixConn)) })
	})
}

// notAccepted reports that no connection can be accepted.
func (s *server) notAccepted(err error) { s.log.Errf("accept: %v", err) }

// persistent serves one persistent connection.
func (s *server) persistent(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	admitted := false
	if err := raw.Control(func(fd uintptr) { admitted = s.admit(int(fd)) }); err != nil || !admitted {
		return
	}
	defer s.connections.Add(-1)
	if most := s.settings().connections; s.connections.Add(1) > int64(most) {
		s.tooMany(most)
		return
	}
	// What the end of ctx interrupts is the wait for a question, never an answer.
	defer connection.Interrupt(ctx, conn.SetReadDeadline)()
	err = s.send(conn, []byte(authlib.Greeting))
	for err == nil {
		err = s.question(ctx, conn, raw)
	}
	s.debugf("a persistent connection ends: %v", err)
}

// question serves one question; the error ends the connection.
func (s *server) question(ctx context.Context, conn *net.UnixConn, raw syscall.RawConn) error {
	number, req, err := s.receiveQuestion(ctx, conn, raw)
	if err != nil {
		return err
	}
	began := time.Now()
	s.underWay.Add(1)
	defer s.underWay.Add(-1)
	buf, framed := s.buffers.get(), s.buffers.get()
	out, err := s.respond(req, began, (*buf)[:0])
	var answer []byte
	if err != nil {
		out = (*buf)[:cap(*buf)]
		answer = authlib.AppendTempfail((*framed)[:0], number)
	} else {
		answer = authlib.AppendAnswer((*framed)[:0], number, out)
	}
	s.buffers.put(buf, out)
	defer s.buffers.put(framed, answer)
	return s.send(conn, answer)
}

// respond appends the answer to a request; an error is a temporary failure.
func (s *server) respond(req authlib.Request, began time.Time, dst []byte) (out []byte, err error) {
	defer guard.Recover(s.log.Line, "a request", func() { out, err = nil, errFault })
	g := s.hold()
	defer g.users.Done()
	limit, cancel := context.WithDeadline(context.Background(), began.Add(s.request))
	defer cancel()
	limit, release, ok := s.acquire(limit, g)
	if !ok {
		return nil, errTurnedAway
	}
	defer release()
	out, err = g.answer(limit, req, dst)
	s.metrics.count(kindOf(req), resultOf(out, err), began)
	return out, err
}

// receiveQuestion waits for the next question. How long a client may be silent is a setting; once it has
// begun, it has s.silent for the rest.
func (s *server) receiveQuestion(ctx context.Context, conn *net.UnixConn, raw syscall.RawConn) (
	number uint64, req authlib.Request, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(s.settings().idle)); err != nil {
		return 0, nil, err
	}
	if ctx.Err() != nil { // it may have ended before the deadline was set
		return 0, nil, ctx.Err()
	}
	var buf *[]byte
	var n int
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		buf = s.buffers.get()
		n, rerr = rawRead(int(fd), (*buf)[:cap(*buf)])
		for rerr == unix.EINTR {
			n, rerr = rawRead(int(fd), (*buf)[:cap(*buf)])
		}
		if rerr == unix.EAGAIN { // no buffer while it waits
			s.buffers.put(buf, nil)
			buf = nil
			return false
		}
		return true
	})
	var used []byte
	if buf != nil {
		used = (*buf)[:cap(*buf)]
		defer func() { s.buffers.put(buf, used) }()
	}
	if err = errors.Join(err, rerr); err != nil {
		return 0, nil, err
	}
	for have := n; ; have += n {
		if n == 0 {
			return 0, nil, errClientLeft
		}
		number, req, err = authlib.ParseQuestion((*buf)[:have])
		if !authlib.Incomplete(err) {
			used = (*buf)[:have]
			return number, req, err
		}
		if have == n { // the first bytes
			if err := conn.SetReadDeadline(time.Now().Add(s.silent)); err != nil {
				return 0, nil, err
			}
			if ctx.Err() != nil {
				return 0, nil, ctx.Err()
			}
		}
		if n, err = conn.Read((*buf)[have:cap(*buf)]); err != nil {
			return 0, nil, err
		}
	}
}

// send writes to a client, waiting no longer than s.write.
func (s *server) send(conn *net.UnixConn, b []byte) error {
	if err := conn.SetWriteDeadline(time.Now().Add(s.write)); err != nil {
		return err
	}
	_, err := conn.Write(b)
	return err
}

// errClientLeft is the orderly end of a persistent connection.
var errClientLeft = errors.New("closed by the client")

// settings are those in use.
func (s *server) settings() *settings {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now.settings
}

// tooMany reports a connection that is closed without a greeting: its client asks on the first socket.
func (s *server) tooMany(most int) {
	s.metrics.turnedAway.Inc()
	s.crowded.Count(refusalsEvery, func(n int) {
		s.log.Warnf("AUTH_PERSISTENT_CONNECTIONS=%d are open: a client has to use the other socket%s",
			most, loglimit.More(n))
	})
}
