package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/systemd"
	"mailproxy/relay/engine"
	"mailproxy/relay/handoff"
)

// pauseTime is how long hand-overs in progress may take before a restart goes on without them: their
// sessions stay here.
const pauseTime = 3 * time.Second

// restart starts our program anew, perhaps a new version of it, and passes all sessions on. Nobody notices:
// connections change hands as descriptors, with the bytes that are held and the keys of TLS. A session
// leaves this process when the new one has said that it serves it; when anything fails, everything goes on
// here. The end of ctx is such a failure.
func (s *service) restart(ctx context.Context, in *inherited, getenv func(string) string) (r restarted) {
	s.reserve.release()
	defer s.reserve.fill()
	child, c, err := s.spawn(in, getenv)
	if err != nil {
		return restarted{err: err}
	}
	defer c.Close()
	kill := sync.OnceFunc(func() {
		_ = child.Kill()
		go func() { _, _ = child.Wait() }()
	})
	if err := engine.AwaitReady(ctx, c); err != nil {
		kill()
		return restarted{err: fmt.Errorf("the new process is not ready: %w", err)}
	}
	resume := s.conversations.pause(ctx, in.socket, pauseTime)
	n, err := s.engine.HandOver(ctx, c, kill)
	if err != nil {
		resume()
		return restarted{err: fmt.Errorf("the new process does not take over: %w", err)}
	}
	// Systemd has to know before this process ends: else it takes the service for ended, and stops the new
	// process.
	_ = systemd.Notify("MAINPID=" + strconv.Itoa(child.Pid))
	pid := child.Pid
	_ = child.Release()
	return restarted{sessions: n, pid: pid}
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
	s.counters.taken.Add(int64(n))
	s.log.line(fmt.Sprintf("INFO: relayd: %d sessions taken over by process %d", n, os.Getpid()))
	return nil
}

// spawn starts the new process with our sockets and a connection for the sessions. Descriptors are passed
// by number: os/exec would make them blocking, which both processes would share.
func (s *service) spawn(in *inherited, getenv func(string) string) (*os.Process, *net.UnixConn, error) {
	ours, theirs, err := unixPair()
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
	sys := &syscall.SysProcAttr{}
	if getenv("NOTIFY_SOCKET") != "" {
		// systemd warns of a main process that is not its own child.
		sys.Cloneflags = unix.CLONE_PARENT
	}
	pid, err := withDescriptors(conns, []uintptr{0, 1, 2}, func(fds []uintptr) (int, error) {
		return syscall.ForkExec(s.conf.program, s.conf.args, &syscall.ProcAttr{Env: env, Files: fds, Sys: sys})
	})
	if err != nil {
		ours.Close()
		return nil, nil, err
	}
	p, err := os.FindProcess(pid)
	return p, ours, err
}

// withDescriptors calls f with the descriptors of conns behind those in fds.
func withDescriptors(conns []syscall.Conn, fds []uintptr, f func([]uintptr) (int, error)) (n int, err error) {
	if len(conns) == 0 {
		return f(fds)
	}
	raw, err := conns[0].SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) { n, err = withDescriptors(conns[1:], append(fds, fd), f) })
	return n, errors.Join(cerr, err)
}

// unixPair returns two connected SOCK_SEQPACKET connections.
func unixPair() (a, b *net.UnixConn, err error) {
	fa, fb, err := handoff.Socketpair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, nil, err
	}
	defer fa.Close()
	defer fb.Close()
	ca, err := net.FileConn(fa)
	if err != nil {
		return nil, nil, err
	}
	cb, err := net.FileConn(fb)
	if err != nil {
		ca.Close()
		return nil, nil, err
	}
	return ca.(*net.UnixConn), cb.(*net.UnixConn), nil
}
