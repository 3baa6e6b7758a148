package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/relay/internal/wire"
)

const (
	maxTalks    = 512              // front ends in conversation at once; the others wait in the listen queue
	talkTimeout = 60 * time.Second // a front end that says nothing
)

// accept serves one listener until it is closed.
func (s *service) accept(ctx context.Context, l *listener) error {
	for {
		s.slots <- struct{}{}
		c, err := l.accept()
		if err != nil {
			<-s.slots
			if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				select {
				case <-s.resume:
				case <-ctx.Done():
				}
				continue
			}
			s.log.line(fmt.Sprintf("WARN: relayd: accept: %v", err)) // no descriptors: one may be free soon
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.talking.Add(1)
		release := func() { <-s.slots; s.talking.Add(-1) }
		if talk := s.hear(ctx, c); talk != nil {
			go func() {
				defer release()
				talk()
			}()
		} else {
			release()
		}
	}
}

// soon is how long a caller's first message is waited for before others are heard. It is there in most cases: front ends connect and speak
// at once.
const soon = 2 * time.Millisecond

// hear serves a caller whose only message asks for nothing that takes time, as that of a front end does which hands a session over. From
// any other one it returns the conversation, for a goroutine of its own.
func (s *service) hear(ctx context.Context, c *wire.Caller) (talk func()) {
	if !s.allowed(c) {
		c.Close()
		return nil
	}
	c.Within(ctx, time.Now().Add(soon))
	m, fds, err := wire.Receive(c)
	silent := errors.Is(err, os.ErrDeadlineExceeded)
	if !silent && (err != nil || isBrief(m)) {
		s.serveOne(c, m, fds, err)
		c.Close()
		return nil
	}
	var conn *net.UnixConn
	_ = c.Control(func(fd uintptr) {
		var copied net.Conn
		if copied, err = netConn(int(fd)); err == nil {
			conn = copied.(*net.UnixConn)
		}
	})
	c.Close()
	if err != nil {
		wire.CloseAll(fds)
		return nil
	}
	return func() {
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now().Add(time.Second)) })
		defer stop()
		_ = conn.SetDeadline(time.Now().Add(talkTimeout))
		if silent {
			m, fds, err = wire.Receive(conn)
		}
		s.serveOne(conn, m, fds, err)
	}
}

// allowed checks who calls.
func (s *service) allowed(c syscall.Conn) bool {
	raw, err := c.SyscallConn()
	if err == nil {
		cerr := raw.Control(func(fd uintptr) { err = s.conf.allow.Check(int(fd)) })
		err = errors.Join(cerr, err)
	}
	if err == nil {
		return true
	}
	s.counters.denied.Add(1)
	if unwritten, due := s.complaints.Due(time.Now()); due {
		more := ""
		if unwritten > 0 {
			more = fmt.Sprintf(" (%d like this since the last line)", unwritten)
		}
		s.log.line(fmt.Sprintf("ERR: relayd: a caller may not use this socket, see -allow: %v%s", err, more))
	}
	return false
}

// isBrief tells a message that is served without waiting for anybody.
func isBrief(m *wire.Message) bool {
	return m.Verb == "REPORT" || m.Verb == "TAKE"
}

// serveOne serves a caller that has said one thing, and says no more: a front end with a session, or an administrator with a question.
func (s *service) serveOne(c syscall.Conn, m *wire.Message, fds []int, err error) {
	if err != nil || m.Verb != "TAKE" {
		wire.CloseAll(fds)
	}
	switch {
	case errors.Is(err, wire.ErrFiles):
		s.counters.full.Add(1)
		_ = answer(c, "FULL", err.Error())
	case err != nil:
		return
	case m.Verb == "TAKE":
		s.take(c, m, fds)
	case m.Verb == "REPORT":
		s.report(c, m)
	case m.Verb == "WHO", m.Verb == "KICK", m.Verb == "STATS":
		s.admin(c, m)
	default:
		_ = answer(c, "FAIL", "unknown request")
	}
}

// netConn is a connection of package net on a copy of a descriptor.
func netConn(fd int) (net.Conn, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(own), "connection")
	defer f.Close()
	return net.FileConn(f)
}
