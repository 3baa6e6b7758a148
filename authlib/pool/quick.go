package pool

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// quick is a connection whose reads and writes do not tell the scheduler that they are system calls. They never block, but
// with many short questions the runtime spends a tenth of the processor time watching whether one of them does.
type quick struct {
	net.Conn // deadlines, addresses, Close
	raw      syscall.RawConn
	in, out  transfer
	// read and write are the methods' values, made once: each would be an allocation.
	read, write func(fd uintptr) bool
}

// transfer is a read or a write under way.
type transfer struct {
	buf   []byte
	done  int
	errno syscall.Errno
}

// Quick returns c, or, when it is a plain socket, one that does the same with less processor time. At most one goroutine at a
// time may read from it, and one write.
func Quick(c net.Conn) net.Conn {
	s, ok := c.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return c
	}
	q := &quick{Conn: c, raw: raw}
	q.read, q.write = q.tryRead, q.tryWrite
	return q
}

// Read implements net.Conn.
func (q *quick) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	q.in = transfer{buf: b}
	err := q.raw.Read(q.read)
	n, err := q.result(&q.in, "read", err)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write implements net.Conn.
func (q *quick) Write(b []byte) (int, error) {
	q.out = transfer{buf: b}
	err := q.raw.Write(q.write)
	return q.result(&q.out, "write", err)
}

// result ends a transfer.
func (q *quick) result(t *transfer, op string, err error) (int, error) {
	if err == nil && t.errno != 0 {
		err = &net.OpError{Op: op, Net: q.RemoteAddr().Network(), Source: q.LocalAddr(), Addr: q.RemoteAddr(), Err: os.NewSyscallError(op, t.errno)}
	}
	t.buf = nil
	return t.done, err
}

// tryRead tells whether the read is over; else it is called again when there is something to read.
func (q *quick) tryRead(fd uintptr) bool {
	t := &q.in
	for {
		n, _, errno := syscall.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.buf))), uintptr(len(t.buf)))
		switch errno {
		case 0:
			t.done = int(n)
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			t.errno = errno
			return true
		}
	}
}

// tryWrite tells whether everything is written; else it is called again when there is room. A peer that went away is an error,
// not a signal.
func (q *quick) tryWrite(fd uintptr) bool {
	t := &q.out
	for t.done < len(t.buf) {
		rest := t.buf[t.done:]
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(len(rest)), unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			t.done += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			t.errno = errno
			return true
		}
	}
	return true
}
