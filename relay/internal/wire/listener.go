package wire

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listener is the SOCK_SEQPACKET socket that front ends call. Unlike net.UnixListener it accepts a connection without giving it to
// the runtime's poller, which most callers, who say one thing, would not live to need.
type Listener struct {
	*net.UnixListener
	file *os.File // a copy, which can be waited for
	raw  syscall.RawConn
}

// Listen takes over a listener.
func Listen(l *net.UnixListener) (*Listener, error) {
	file, err := l.File()
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Listener{UnixListener: l, file: file, raw: raw}, nil
}

// AcceptCaller waits for the next caller; until Within is called nothing is waited for on its connection. os.ErrDeadlineExceeded after the
// deadline, net.ErrClosed after Close.
func (l *Listener) AcceptCaller() (*Caller, error) {
	c := &Caller{ctx: context.Background()}
	var err error
	rerr := l.raw.Read(func(fd uintptr) bool {
		err = retry(func() (err error) {
			c.fd, _, err = unix.Accept4(int(fd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return err
		})
		return err != unix.EAGAIN
	})
	switch {
	case errors.Is(rerr, os.ErrDeadlineExceeded):
		return nil, rerr
	case rerr != nil:
		return nil, net.ErrClosed
	case err != nil:
		return nil, os.NewSyscallError("accept4", err)
	}
	return c, nil
}

// SetDeadline limits AcceptCaller; zero is no limit.
func (l *Listener) SetDeadline(t time.Time) error { return l.file.SetReadDeadline(t) }

// Close ends AcceptCaller.
func (l *Listener) Close() error { return errors.Join(l.UnixListener.Close(), l.file.Close()) }
