// Package line reads protocol lines from a connection without ever taking a byte beyond them, so that
// whatever a peer pipelined after a line still stands in the connection for the program that is given it
// next.
package line

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrTooLong reports a line longer than the limit. The line is consumed up to and including its LF; its
// beginning comes with the error, so that a protocol can still see which command or answer it was.
var ErrTooLong = errors.New("line too long")

// maxEndless is how many bytes of a line that is too long are consumed in search of its end.
const maxEndless = 2 << 20

// ErrEndless reports a line that is too long and does not end within maxEndless bytes either. Where the next
// line begins is not known, so the connection is of no more use.
var ErrEndless = errors.New("line without end")

// Reader reads lines and counted bytes from a connection and holds no byte back. On a socket it looks ahead
// with MSG_PEEK; a TLS connection takes back what was read too much; elsewhere (a pipe) it reads byte by
// byte. Deadlines are the connection's.
type Reader struct {
	conn net.Conn
	sock syscall.RawConn // nil when conn cannot be peeked at
	back unreader        // nil when conn takes nothing back
	buf  []byte          // what upToLF returned last
	line []byte          // what ReadLine returned last
	tee  func(p []byte)  // see Tee
	n    int64
	// filled says that the buffer was too small for what had come.
	filled bool
}

// unreader is a connection that takes back the last bytes that it returned: the next Read begins with them.
type unreader interface {
	Unread(p []byte)
}

// NewReader returns a Reader for conn.
func NewReader(conn net.Conn) *Reader {
	r := &Reader{}
	r.Reset(conn)
	return r
}

// Reset clears the Reader, which goes on with another connection: that of STARTTLS. It goes on counting.
func (r *Reader) Reset(conn net.Conn) {
	r.Clear()
	r.conn, r.sock = conn, nil
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil && isSocket(raw) {
			r.sock = raw
		}
	}
	r.back, _ = conn.(unreader)
}

// Tee has see told of all that is consumed from now on, as it is; nil = no longer. The bytes are see's during
// the call only.
func (r *Reader) Tee(see func(p []byte)) { r.tee = see }

// Count returns the number of bytes consumed so far.
func (r *Reader) Count() int64 { return r.n }

// Clear overwrites what the Reader has read with zeros: passwords, after a login. The last line is no longer
// the caller's.
func (r *Reader) Clear() {
	clear(r.buf[:cap(r.buf)])
	clear(r.line[:cap(r.line)])
	r.line = nil
}

// ReadLine returns the next line without its LF or CRLF. It is the caller's until the next call, or Clear,
// which overwrites it. A line of more than limit bytes (without its end) is
// consumed and reported as ErrTooLong, along with its first limit bytes; one that does not end at all as
// ErrEndless. A line that the end of the stream cut short is io.ErrUnexpectedEOF, nothing at all is io.EOF.
// NUL and other control characters are the caller's to refuse.
func (r *Reader) ReadLine(limit int) ([]byte, error) {
	clear(r.line[:cap(r.line)])
	r.line = nil
	line := []byte(nil)
	defer func() { r.line = line }()
	long, started := false, false
	for begin := r.n; ; {
		chunk, err := r.upToLF(limit + 2)
		started = started || len(chunk) > 0
		if !long {
			line = appendClearing(line, chunk)
		}
		ended := len(chunk) > 0 && chunk[len(chunk)-1] == '\n'
		if ended && !long {
			line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
		}
		if !long && (len(line) > limit+1 || ended && len(line) > limit) {
			long, line = true, line[:limit]
		}
		switch {
		case ended && long:
			return line, ErrTooLong
		case long && r.n-begin > maxEndless:
			return nil, ErrEndless
		case ended:
			return line, nil
		case errors.Is(err, io.EOF) && started:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
	}
}

// appendClearing is append, which overwrites what it leaves behind.
func appendClearing(line, more []byte) []byte {
	grown := append(line, more...)
	if cap(line) > 0 && cap(grown) != cap(line) {
		clear(line[:cap(line)])
	}
	return grown
}

// Pending says whether bytes have come that nobody has consumed, as far as that can be told without waiting:
// on a socket, and where the connection can tell, as one with TLS does.
func (r *Reader) Pending() bool {
	if r.sock == nil {
		conn, ok := r.conn.(interface{ Pending() bool })
		return ok && conn.Pending()
	}
	return HasCome(r.sock)
}

// HasCome says whether a Read of a socket would return bytes at once.
func HasCome(socket syscall.RawConn) bool {
	var n int
	err := socket.Control(func(fd uintptr) {
		n, _, _ = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return err == nil && n > 0
}

// ReadPart returns the next bytes, at most limit of them and none after the first LF. They are overwritten
// by the next call.
func (r *Reader) ReadPart(limit int) ([]byte, error) { return r.upToLF(limit) }

// consumed counts and shows p.
func (r *Reader) consumed(p []byte) {
	r.n += int64(len(p))
	if r.tee != nil {
		r.tee(p)
	}
}

// ReadFull fills p, as io.ReadFull does.
func (r *Reader) ReadFull(p []byte) error {
	n, err := io.ReadFull(r.conn, p)
	r.consumed(p[:n])
	return err
}

// upToLF consumes at least one byte and at most limit bytes, none of them after the first LF. They are
// overwritten by the next call.
func (r *Reader) upToLF(limit int) ([]byte, error) {
	r.makeRoom(limit)
	buf := r.buf[:min(max(limit, 1), len(r.buf))]
	switch {
	case r.sock == nil && r.back != nil:
		return r.readSome(buf)
	case r.sock == nil:
		buf = buf[:1]
	default:
		n, err := r.peek(buf)
		if err != nil {
			return nil, err
		}
		r.filled = n == len(r.buf)
		buf = buf[:n]
		if i := bytes.IndexByte(buf, '\n'); i >= 0 {
			buf = buf[:i+1]
		}
	}
	n, err := io.ReadFull(r.conn, buf)
	r.consumed(buf[:n])
	return buf[:n], err
}

// readSome is upToLF on a connection that takes back what follows the LF.
func (r *Reader) readSome(buf []byte) ([]byte, error) {
	n, err := r.conn.Read(buf)
	r.filled = n == len(r.buf)
	if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 && i+1 < n {
		r.back.Unread(buf[i+1 : n])
		n = i + 1
	}
	if n > 0 {
		err = nil // it comes back with the next Read
	}
	r.consumed(buf[:n])
	return buf[:n], err
}

// Most lines fit into the first of these; a client that says nothing costs no more than that.
const (
	firstRoom = 256
	mostRoom  = 4096
)

// makeRoom makes the buffer: small, until one has been filled.
func (r *Reader) makeRoom(limit int) {
	switch {
	case r.buf == nil && r.sock == nil && r.back == nil:
		r.buf = make([]byte, 1)
	case r.buf == nil:
		r.buf = make([]byte, firstRoom)
	case r.filled && len(r.buf) < mostRoom && limit > len(r.buf):
		clear(r.buf)
		r.buf = make([]byte, mostRoom)
	}
	r.filled = false
}

// peek waits for bytes and copies them into buf without consuming them. io.EOF at the end of the stream.
func (r *Reader) peek(buf []byte) (n int, err error) {
	perr := r.sock.Read(func(fd uintptr) bool {
		for {
			n, _, err = unix.Recvfrom(int(fd), buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	switch {
	case perr != nil:
		return 0, perr
	case err != nil:
		return 0, &net.OpError{Op: "read", Net: "socket", Err: err}
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func isSocket(raw syscall.RawConn) bool {
	var err error
	if cerr := raw.Control(func(fd uintptr) {
		_, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
	}); cerr != nil {
		return false
	}
	return err == nil
}
