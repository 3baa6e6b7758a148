package main

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/relay/internal/wire"
)

// listener is the SOCK_SEQPACKET socket that front ends call. Unlike net.UnixListener it accepts a connection without giving it to
// the runtime's poller, which most callers, who say one thing, would not live to need.
type listener struct {
	*net.UnixListener
	file *os.File // a copy, which can be waited for
	raw  syscall.RawConn
}

// listen takes over a listener.
func listen(l *net.UnixListener) (*listener, error) {
	file, err := l.File()
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &listener{UnixListener: l, file: file, raw: raw}, nil
}

// accept waits for the next caller. os.ErrDeadlineExceeded after the deadline, net.ErrClosed after Close.
func (l *listener) accept() (*wire.Caller, error) {
	var own int
	var err error
	rerr := l.raw.Read(func(fd uintptr) bool {
		for {
			own, _, err = unix.Accept4(int(fd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	switch {
	case errors.Is(rerr, os.ErrDeadlineExceeded):
		return nil, rerr
	case rerr != nil:
		return nil, net.ErrClosed
	case err != nil:
		return nil, os.NewSyscallError("accept4", err)
	}
	return wire.NewCaller(own), nil
}

// SetDeadline limits accept; zero is no limit.
func (l *listener) SetDeadline(t time.Time) error { return l.file.SetReadDeadline(t) }

// Close ends accept.
func (l *listener) Close() error { return errors.Join(l.UnixListener.Close(), l.file.Close()) }
