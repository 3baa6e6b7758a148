package main

import (
	"context"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/successor"
)

// pauseTime is how long hand-overs in progress may take before a restart goes on without them: their
// sessions stay here.
const pauseTime = 3 * time.Second

// restart starts our program anew, perhaps a new version of it, and passes all sessions on. Nobody notices:
// connections change hands as file descriptors, with the bytes that are held and the keys of TLS. A session
// leaves this process when the new one has said that it serves it; when anything fails, everything goes on
// here. The end of ctx is such a failure.
func (s *service) restart(ctx context.Context, in *inherited, getenv func(string) string) (*successor.Next,
	error) {
	defer s.reserve.Fill()
	child, c, err := s.spawn(in, getenv)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return s.engine.PassOn(ctx, child, c, func() (func(), error) {
		return s.conversations.pause(ctx, in.socket, pauseTime), nil
	})
}

// takeOver is the new process's side. A signal ends it: then the old process goes on.
func (s *service) takeOver(ctx context.Context, c *net.UnixConn) error {
	defer c.Close()
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer stop()
	n, err := s.engine.TakeOver(ctx, c)
	if err != nil {
		return err
	}
	s.counters.Taken.Add(int64(n))
	s.takenOver = &n
	return nil
}

// spawn starts the new process with our sockets and a connection for the sessions.
func (s *service) spawn(in *inherited, getenv func(string) string) (*os.Process, *net.UnixConn, error) {
	ours, theirs, err := s.reserve.Pair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	names, conns := []string{"handoff", "socket"}, []syscall.Conn{theirs, in.socket}
	if m, ok := in.metrics.(syscall.Conn); ok {
		names, conns = append(names, "metrics"), append(conns, m)
	}
	env := []string{inheritVariable + "=" + strings.Join(names, ",")}
	for _, name := range []string{"NOTIFY_SOCKET", "JOURNAL_STREAM", "GOMAXPROCS", "GODEBUG", "GORACE"} {
		if v := getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	next := successor.Program{Path: s.conf.program, Args: s.conf.args, Environ: env, Conns: conns}
	p, err := s.reserve.Start(&next)
	if err != nil {
		ours.Close()
		return nil, nil, err
	}
	return p, ours, nil
}
