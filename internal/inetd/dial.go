package inetd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects to a TCP address. It takes at most until the deadline of ctx; long is as for NewSocket.
func Dial(ctx context.Context, addr netip.AddrPort, long func()) (*Socket, error) {
	family, sa, err := socketAddress(addr)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &Socket{family: family, long: long, fd: fd}
	s.writeBy, _ = ctx.Deadline()
	stop := context.AfterFunc(ctx, func() { _ = s.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	begun := false
	_, err = s.transfer("dial", &s.writeBy, unix.POLLOUT, func(fd int) (int, error) {
		if begun {
			errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err == nil && errno != 0 {
				err = unix.Errno(errno)
			}
			return 0, err
		}
		begun = true
		err := unix.Connect(fd, sa)
		if err == unix.EINPROGRESS || err == unix.EINTR {
			err = unix.EAGAIN
		}
		return 0, err
	})
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = s.SetDeadline(time.Time{})
	}
	if err != nil {
		s.Close()
		return nil, dialError(addr, err)
	}
	return s, nil
}

// dialError is what package net says.
func dialError(addr netip.AddrPort, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		err = os.NewSyscallError("connect", errno)
	}
	return &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: err}
}

// socketAddress returns an address as the kernel takes it. The zone of an IPv6 address is a network interface's name.
func socketAddress(addr netip.AddrPort) (family int, sa unix.Sockaddr, err error) {
	if ip := addr.Addr().Unmap(); ip.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: ip.As4()}, nil
	}
	six := &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	if zone := addr.Addr().Zone(); zone != "" {
		link, err := net.InterfaceByName(zone)
		if err != nil {
			return 0, nil, fmt.Errorf("%s: %w", addr.Addr(), err)
		}
		six.ZoneId = uint32(link.Index)
	}
	return unix.AF_INET6, six, nil
}

// DialUnix connects to a unix stream socket, waiting at most limit for a place in the listener's queue; long is as for NewSocket.
func DialUnix(path string, limit time.Duration, long func()) (*Socket, error) {
	// Blocking: only so does the kernel wait for a full queue.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	timeout := unix.NsecToTimeval(max(limit, time.Microsecond).Nanoseconds())
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	switch err {
	case nil:
		return &Socket{family: unix.AF_UNIX, long: long, fd: fd}, nil
	case unix.EAGAIN:
		err = os.ErrDeadlineExceeded
	default:
		err = os.NewSyscallError("connect", err)
	}
	unix.Close(fd)
	return nil, err
}
