package handoff

import (
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// Send writes one message with file descriptors, which stay the caller's. c is a *net.UnixConn; its deadline
// applies.
func Send(c syscall.Conn, m *Message, fds ...int) error {
	p, err := m.Encode()
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	werr := raw.Write(func(fd uintptr) bool {
		err = retry(func() error {
			return unix.Sendmsg(int(fd), p, rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		})
		return err != unix.EAGAIN
	})
	return first(werr, err)
}

// Receive waits for one message. The file descriptors are close-on-exec and the caller's to close, also when
// there is an error beside them. io.EOF when the other end has closed.
func Receive(c syscall.Conn) (m *Message, fds []int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	rerr := raw.Read(func(fd uintptr) bool {
		m, fds, err = receive(int(fd))
		return err != unix.EAGAIN
	})
	return m, fds, first(rerr, err)
}

// receive takes one packet, unix.EAGAIN when there is none.
func receive(fd int) (*Message, []int, error) {
	// A buffer for the longest packet, for every answer of two letters, would keep the garbage collector
	// busier than all the rest of a hand-over.
	var n, on, flags int
	err := retry(func() (err error) {
		n, _, err = unix.Recvfrom(fd, nil, unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	p := make([]byte, min(n+1, MaxPacket))
	oob := make([]byte, unix.CmsgSpace(4*MaxFiles))
	err = retry(func() (err error) {
		n, on, flags, _, err = unix.Recvmsg(fd, p, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	fds := parseRights(oob[:on])
	switch {
	case n == 0 && len(fds) == 0:
		return nil, nil, io.EOF
	case flags&unix.MSG_TRUNC != 0:
		return nil, fds, ErrSyntax
	}
	m, err := Decode(p[:n])
	if err == nil {
		m.FilesLost = flags&unix.MSG_CTRUNC != 0
	}
	return m, fds, err
}

func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// first is the error that came first: that of waiting, else that of the call itself.
func first(wait, call error) error {
	if wait != nil {
		return wait
	}
	return call
}

func parseRights(oob []byte) (fds []int) {
	cms, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range cms {
		if got, err := unix.ParseUnixRights(&cms[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

// CloseAll closes file descriptors that nobody wants.
func CloseAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
