package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/systemd"
	"mailproxy/relay/internal/wire"
)

const (
	readyTime = 10 * time.Second // for the new process to be ready
	moveTime  = 60 * time.Second // for passing all sessions on
	settling  = 3 * time.Second  // for hand-overs in progress
)

// restart starts our program anew, perhaps a new version of it, and passes all sessions on. Nobody notices: connections
// change hands as descriptors, with the bytes that are held and the keys of TLS. Until the new process has
// acknowledged, the sessions stand still and are ours; when anything fails they go on here.
func (s *service) restart(ctx context.Context, in *inherited, getenv func(string) string) (n int, err error) {
	child, c, err := s.spawn(in, getenv)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	failed := func(err error) (int, error) {
		_ = child.Kill()
		_, _ = child.Wait()
		return 0, err
	}
	_ = c.SetDeadline(time.Now().Add(readyTime))
	if err := expect(c, "READY"); err != nil {
		return failed(err)
	}
	_ = c.SetDeadline(time.Now().Add(moveTime))
	s.pause(in.socket)
	frozen, err := s.moveAll(c)
	if err == nil {
		if err = wire.Send(c, &wire.Message{Verb: "END"}); err == nil {
			err = expect(c, "OK")
		}
	}
	if err != nil {
		for _, x := range frozen {
			s.loopFor().adopt(x)
		}
		_ = in.socket.SetDeadline(time.Time{})
		select {
		case s.resume <- struct{}{}:
		case <-ctx.Done():
		}
		return failed(err)
	}
	for _, x := range frozen {
		i := x.info()
		unix.Close(x.end[client].FD)
		unix.Close(x.end[mailhost].FD)
		s.limits.give(i.RemoteIP, i.User)
	}
	// Systemd has to know before this process ends: else it takes the service for ended, and stops the new process.
	_ = systemd.Notify("MAINPID=" + strconv.Itoa(child.Pid))
	_ = child.Release()
	return len(frozen), nil
}

// spawn starts the new process with our sockets and a connection for the sessions. Descriptors are passed by number:
// os/exec would make them blocking, which both processes would share.
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
	fa, fb, err := wire.Socketpair(unix.SOCK_SEQPACKET)
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

// pause holds new hand-overs back, in the listen queue, and waits for those in progress.
func (s *service) pause(l *listener) {
	_ = l.SetDeadline(time.Unix(1, 0))
	for end := time.Now().Add(settling); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if s.talking.Load() == 0 {
			return
		}
	}
}

// moveAll takes every session from its loop and sends it. It returns those taken, whether they were sent or not.
func (s *service) moveAll(c *net.UnixConn) (frozen []*session, err error) {
	type packed struct {
		m    *wire.Message
		held []byte
	}
	for _, l := range s.loops {
		var all []packed
		l.call(func() {
			for _, x := range l.slots {
				if x == nil {
					continue
				}
				l.remove(x)
				m, held, ferr := x.freeze(l.shop)
				err = errors.Join(err, ferr)
				frozen = append(frozen, x)
				all = append(all, packed{m, held})
			}
		})
		first := len(frozen) - len(all)
		for i, p := range all {
			if err != nil {
				return frozen, err
			}
			x := frozen[first+i]
			err = move(c, p.m, p.held, x.end[client].FD, x.end[mailhost].FD)
		}
	}
	return frozen, err
}

// adopt is the new process's side: it takes the sessions and acknowledges. They are served when the loops run.
func (s *service) adopt(c *net.UnixConn) (int, error) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(moveTime))
	if err := wire.Send(c, &wire.Message{Verb: "READY", Fields: map[string]string{"PID": strconv.Itoa(os.Getpid())}}); err != nil {
		return 0, err
	}
	for {
		x, err := moved(c)
		if err != nil {
			return 0, err
		}
		if x == nil {
			break
		}
		i := x.info()
		s.limits.adopt(i.RemoteIP, i.User)
		s.adopted = append(s.adopted, x)
	}
	return len(s.adopted), answer(c, "OK", "")
}

func expect(c *net.UnixConn, verb string) error {
	m, fds, err := wire.Receive(c)
	wire.CloseAll(fds)
	if err != nil {
		return fmt.Errorf("the new process does not say %s: %w", verb, err)
	}
	if m.Verb != verb {
		return fmt.Errorf("the new process says %s instead of %s", m.Verb, verb)
	}
	return nil
}
