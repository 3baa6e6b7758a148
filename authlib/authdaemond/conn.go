package main

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"mailproxy/authlib"
)

// conn is an accepted connection: a non-blocking file descriptor. Most requests are there when the connection
// is accepted, and their answers fit into the socket's buffer: four system calls in all, and nothing
// registered with the poller. Only who has to be waited for gets a file that can be waited with. Package
// net's connections would cost the daemon half as much again, see docs/performance.md.
type conn struct {
	fd   int
	file *os.File // nil until somebody waits; then it owns fd
	// deadline for writes through file.
	writeTime time.Duration
	// peeked is the number of bytes that have been looked at, but are still in the socket's queue.
	peeked int
}

// peek looks for a whole request, which it leaves in the socket's queue until Close. To take it out before
// the answer is there would wake the client, who waits for just that: the kernel tells a socket's sleepers of
// all that happens to it.
func (c *conn) peek(buf []byte) (req authlib.Request, done bool, err error) {
	n, _, errno := unix.RawSyscall6(
		unix.SYS_RECVFROM,
		uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), unix.MSG_PEEK, 0, 0)
	if errno != 0 || n == 0 {
		return nil, false, nil // receive finds out
	}
	req, err = authlib.ParseRequest(buf[:n])
	if authlib.Incomplete(err) {
		return nil, false, nil
	}
	c.peeked = int(n)
	return req, true, err
}

// drop takes what was peeked at out of the queue: a socket closed with something in it would be an error for
// the client.
func (c *conn) drop() {
	var buf [512]byte
	for c.peeked > 0 {
		n, err := c.tryRead(buf[:min(len(buf), c.peeked)])
		if err != nil {
			break
		}
		c.peeked -= n
	}
	clear(buf[:])
}

// tryRead reads what is there, io.EOF at the end, or syscall.EAGAIN.
func (c *conn) tryRead(buf []byte) (int, error) {
	for {
		n, err := rawRead(c.fd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// rawRead is read(2) without telling the scheduler: the file descriptor never blocks.
func rawRead(fd int, buf []byte) (int, error) {
	n, _, errno := unix.RawSyscall(
		unix.SYS_READ,
		uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// wait makes the connection one that can be waited for.
func (c *conn) wait() *os.File {
	if c.file == nil {
		c.file = os.NewFile(uintptr(c.fd), "client")
	}
	return c.file
}

// Write writes all of b, waiting no longer than writeTime.
func (c *conn) Write(b []byte) (int, error) {
	done := 0
	if c.file == nil {
		for done < len(b) {
			n, err := sendNoSignal(c.fd, b[done:])
			if err == unix.EINTR {
				continue
			}
			if err == unix.EAGAIN {
				break
			}
			if err != nil {
				return done, err
			}
			done += n
		}
		if done == len(b) {
			return done, nil
		}
	}
	f := c.wait()
	if err := f.SetWriteDeadline(time.Now().Add(c.writeTime)); err != nil {
		return done, err
	}
	n, err := f.Write(b[done:])
	return done + n, err
}

// sendNoSignal is send(2); a client that went away is an error, not a signal.
func sendNoSignal(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(
		unix.SYS_SENDTO,
		uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Close closes the connection.
func (c *conn) Close() error {
	c.drop()
	if c.file != nil {
		return c.file.Close()
	}
	_, _, errno := unix.RawSyscall(unix.SYS_CLOSE, uintptr(c.fd), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// receive reads a request into buf's capacity, if all of it is there already. done is false when the client
// has to be waited for; buf is then what there is of it.
func (c *conn) receive(buf []byte) (req authlib.Request, rest []byte, done bool, err error) {
	for {
		if len(buf) == cap(buf) {
			return nil, nil, true, authlib.ErrProtocol
		}
		n, err := c.tryRead(buf[len(buf):cap(buf)])
		if errors.Is(err, syscall.EAGAIN) {
			return nil, buf, false, nil
		}
		if err != nil {
			return nil, nil, true, err
		}
		buf = buf[:len(buf)+n]
		req, err := authlib.ParseRequest(buf)
		if !authlib.Incomplete(err) {
			return req, nil, true, err
		}
	}
}

// await reads a request from a client that has to be waited for, until the deadline. While the client is
// silent no buffer is held for it, only what it has sent.
func (c *conn) await(have []byte, deadline time.Time, buffers *pool) (authlib.Request, error) {
	f := c.wait()
	if err := f.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var req authlib.Request
	var rerr error
	err = raw.Read(func(uintptr) bool {
		buf := buffers.get()
		defer buffers.put(buf, (*buf)[:cap(*buf)])
		var rest []byte
		var done bool
		req, rest, done, rerr = c.receive(append((*buf)[:0], have...))
		if !done && len(rest) > len(have) {
			clear(have)
			have = append([]byte(nil), rest...)
		}
		return done
	})
	clear(have)
	if err != nil {
		return nil, err
	}
	return req, rerr
}
