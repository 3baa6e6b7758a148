package inetd

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is a connected stream socket that is waited for with poll(2), not by the runtime's poller: a program that lives
// for one login does without its threads, timers and descriptors, which cost a tenth of the login's processor time. The
// blocking mode of the socket, which belongs to everybody who has it open, is neither changed nor relied on.
//
// It is a Conn: deadlines, Close and the rest may come from any goroutine.
type Socket struct {
	family int // AF_INET, AF_INET6, AF_UNIX
	// long is called when something is waited for for longer than patience; nil = nothing.
	long func()

	mu      sync.Mutex
	fd      int // -1 = closed
	users   int // calls that use fd; the last one closes it after Close
	closed  bool
	wakers  []int // eventfds, one for each long wait under way, by which it is told to look again
	readBy  time.Time
	writeBy time.Time
}

// patience is how long a wait lasts before it can be interrupted at once. Most waits of a login are over by then, and do without
// what that takes; a deadline that is moved meanwhile is noticed at its end.
const patience = 100 * time.Millisecond

// NewSocket takes over a connected stream socket. long, when not nil, is called, each time, when something is waited for for longer
// than 100 ms.
func NewSocket(fd int, long func()) (*Socket, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	if kind != unix.SOCK_STREAM {
		return nil, errors.New("not a stream socket")
	}
	return &Socket{family: family, long: long, fd: fd}, nil
}

// Pair returns the two connected ends of a stream socket; long is as for NewSocket.
func Pair(long func()) (near, far *Socket, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	end := func(fd int) *Socket { return &Socket{family: unix.AF_UNIX, long: long, fd: fd} }
	return end(fds[0]), end(fds[1]), nil
}

// Read implements net.Conn.
func (s *Socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := s.transfer("read", &s.readBy, unix.POLLIN, func(fd int) (int, error) {
		n, _, err := unix.Recvfrom(fd, p, unix.MSG_DONTWAIT)
		return n, err
	})
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}

// Write implements net.Conn.
func (s *Socket) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = s.transfer("write", &s.writeBy, unix.POLLOUT, func(fd int) (int, error) {
			return unix.SendmsgN(fd, p[n:], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		})
		n += m
	}
	return n, err
}

// transfer calls try until it does not say EAGAIN, waiting in between.
func (s *Socket) transfer(op string, by *time.Time, events int16, try func(fd int) (int, error)) (int, error) {
	fd, err := s.use()
	if err != nil {
		return 0, s.opError(op, err)
	}
	defer s.unuse()
	if err := s.expired(by); err != nil {
		return 0, s.opError(op, err)
	}
	for {
		n, err := try(fd)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			if err := s.wait(fd, by, events); err != nil {
				return 0, s.opError(op, err)
			}
		default:
			return 0, s.opError(op, os.NewSyscallError(op, err))
		}
	}
}

// wait returns when the socket is ready, or with an error when the deadline has come or the socket was closed.
func (s *Socket) wait(fd int, by *time.Time, events int16) error {
	impatient := time.Now().Add(patience)
	fds := make([]unix.PollFd, 1, 2)
	fds[0] = unix.PollFd{Fd: int32(fd), Events: events}
	defer func() {
		if len(fds) > 1 {
			s.removeWaker(int(fds[1].Fd))
		}
	}()
	for {
		if err := s.expired(by); err != nil {
			return err
		}
		s.mu.Lock()
		end := *by
		s.mu.Unlock()
		if len(fds) == 1 && (end.IsZero() || end.After(impatient)) {
			end = impatient
		}
		n, err := unix.Poll(fds, milliseconds(end))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return os.NewSyscallError("poll", err)
		case n > 0 && fds[0].Revents != 0:
			return nil
		case n > 0:
			var b [8]byte
			_, _ = unix.Read(int(fds[1].Fd), b[:])
		case len(fds) == 1 && !time.Now().Before(impatient):
			waker, err := s.addWaker()
			if err != nil {
				return err
			}
			fds = append(fds, unix.PollFd{Fd: int32(waker), Events: unix.POLLIN})
			if s.long != nil {
				s.long()
			}
		}
	}
}

// milliseconds is the time until end for poll(2): never less than that, -1 for no end.
func milliseconds(end time.Time) int {
	if end.IsZero() {
		return -1
	}
	return int(min(max(time.Until(end)+time.Millisecond-1, 0)/time.Millisecond, 1<<30))
}

// expired says whether a deadline, of reading or of writing, has come, or the socket was closed.
func (s *Socket) expired(by *time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return net.ErrClosed
	case !by.IsZero() && !time.Now().Before(*by):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// use and unuse stand around every use of the descriptor.
func (s *Socket) use() (fd int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return -1, net.ErrClosed
	}
	s.users++
	return s.fd, nil
}

func (s *Socket) unuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
	s.release()
}

// release closes the descriptor of a closed socket that nobody uses.
func (s *Socket) release() {
	if !s.closed || s.users > 0 || s.fd < 0 {
		return
	}
	unix.Close(s.fd)
	s.fd = -1
}

// addWaker makes the descriptor by which one wait is interrupted.
func (s *Socket) addWaker() (int, error) {
	waker, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, os.NewSyscallError("eventfd2", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakers = append(s.wakers, waker)
	return waker, nil
}

func (s *Socket) removeWaker(waker int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakers = slices.DeleteFunc(s.wakers, func(w int) bool { return w == waker })
	unix.Close(waker)
}

// wake has every long wait look again. The mutex is held.
func (s *Socket) wake() {
	for _, waker := range s.wakers {
		_, _ = unix.Write(waker, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// Close implements net.Conn. What is being read or written ends with net.ErrClosed.
func (s *Socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.closed = true
	s.wake()
	s.release()
	return nil
}

// CloseWrite implements Conn.
func (s *Socket) CloseWrite() error {
	fd, err := s.use()
	if err == nil {
		defer s.unuse()
		err = os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_WR))
	}
	if err != nil {
		return s.opError("close", err)
	}
	return nil
}

// SetDeadline implements net.Conn.
func (s *Socket) SetDeadline(t time.Time) error { return s.setDeadline(t, &s.readBy, &s.writeBy) }

// SetReadDeadline implements net.Conn.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.setDeadline(t, &s.readBy) }

// SetWriteDeadline implements net.Conn.
func (s *Socket) SetWriteDeadline(t time.Time) error { return s.setDeadline(t, &s.writeBy) }

func (s *Socket) setDeadline(t time.Time, by ...*time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	for _, b := range by {
		*b = t
	}
	s.wake()
	return nil
}

// LocalAddr implements net.Conn: a *net.TCPAddr or a *net.UnixAddr.
func (s *Socket) LocalAddr() net.Addr { return s.addr(unix.Getsockname) }

// RemoteAddr implements net.Conn: a *net.TCPAddr or a *net.UnixAddr.
func (s *Socket) RemoteAddr() net.Addr { return s.addr(unix.Getpeername) }

func (s *Socket) addr(get func(fd int) (unix.Sockaddr, error)) net.Addr {
	fd, err := s.use()
	if err != nil {
		return s.noAddr()
	}
	defer s.unuse()
	sa, err := get(fd)
	if err != nil {
		return s.noAddr()
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)))
	case *unix.SockaddrInet6:
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)))
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Net: "unix", Name: a.Name}
	}
	return s.noAddr()
}

// noAddr is the address of a socket that has none, as one that was reset before we asked.
func (s *Socket) noAddr() net.Addr {
	if s.family == unix.AF_UNIX {
		return &net.UnixAddr{Net: "unix"}
	}
	return &net.TCPAddr{}
}

func (s *Socket) opError(op string, err error) error {
	if err == net.ErrClosed {
		return err
	}
	network := "tcp"
	if s.family == unix.AF_UNIX {
		network = "unix"
	}
	return &net.OpError{Op: op, Net: network, Err: err}
}

// SyscallConn implements syscall.Conn. Read and Write of what it returns wait with poll(2), too.
func (s *Socket) SyscallConn() (syscall.RawConn, error) { return rawSocket{s}, nil }

// rawSocket is a Socket's descriptor.
type rawSocket struct{ s *Socket }

func (r rawSocket) Control(f func(fd uintptr)) error {
	fd, err := r.s.use()
	if err != nil {
		return err
	}
	defer r.s.unuse()
	f(uintptr(fd))
	return nil
}

func (r rawSocket) Read(f func(fd uintptr) bool) error {
	return r.until("read", &r.s.readBy, unix.POLLIN, f)
}

func (r rawSocket) Write(f func(fd uintptr) bool) error {
	return r.until("write", &r.s.writeBy, unix.POLLOUT, f)
}

// until calls f until it is done.
func (r rawSocket) until(op string, by *time.Time, events int16, f func(fd uintptr) bool) error {
	_, err := r.s.transfer(op, by, events, func(fd int) (int, error) {
		if f(uintptr(fd)) {
			return 0, nil
		}
		return 0, unix.EAGAIN
	})
	return err
}
