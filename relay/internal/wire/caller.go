package wire

import (
	"context"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/peercred"
)

// slice is how long a Caller waits before it looks whether its context has ended.
const slice = 100 * time.Millisecond

// Caller is a connection between front end and relayd, at either end. It waits in poll(2), in the calling thread: a process that
// lives for one login would pay more for package net and the runtime's poller than for everything it does here.
type Caller struct {
	fd  int
	ctx context.Context
	end time.Time
}

// Call connects to the SOCK_SEQPACKET socket named path, at most until end or until ctx ends; Within sets other limits
// for what follows. Who listens there must be root, this process's own user or one of users: it is trusted with sessions.
func Call(ctx context.Context, path string, end time.Time, users ...string) (*Caller, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	c := &Caller{fd: fd}
	c.Within(ctx, end)
	for {
		err = retry(func() error { return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) })
		if err != unix.EAGAIN { // its queue is full, and nothing tells when it is not any more
			break
		}
		if err = c.pause(); err != nil {
			break
		}
	}
	op := "connect"
	if err == nil {
		op, err = "who listens", peercred.ListenerFD(fd, users...)
	}
	if err != nil {
		c.Close()
		return nil, &os.PathError{Op: op, Path: path, Err: err}
	}
	return c, nil
}

// NewCaller takes over a connection that relayd has accepted, non-blocking. Nothing is waited for on it until Within is called.
func NewCaller(fd int) *Caller { return &Caller{fd: fd, ctx: context.Background()} }

// Within limits everything that follows by ctx and end.
func (c *Caller) Within(ctx context.Context, end time.Time) { c.ctx, c.end = ctx, end }

// Close ends the conversation. It may be called again.
func (c *Caller) Close() error {
	if c.fd < 0 {
		return nil
	}
	err := unix.Close(c.fd)
	c.fd = -1
	return err
}

// Shutdown has the other end fail to send anything more. What it sent before can still be received.
func (c *Caller) Shutdown() {
	if c.fd >= 0 {
		_ = unix.Shutdown(c.fd, unix.SHUT_RDWR)
	}
}

// SyscallConn is part of syscall.Conn.
func (c *Caller) SyscallConn() (syscall.RawConn, error) {
	if c.fd < 0 {
		return nil, os.ErrClosed
	}
	return c, nil
}

// Control is part of syscall.RawConn.
func (c *Caller) Control(f func(fd uintptr)) error {
	f(uintptr(c.fd))
	return nil
}

// Read is part of syscall.RawConn: it calls f until it is done, and waits for something to read in between.
func (c *Caller) Read(f func(fd uintptr) bool) error { return c.until(unix.POLLIN, f) }

// Write is part of syscall.RawConn: it calls f until it is done, and waits for room in between.
func (c *Caller) Write(f func(fd uintptr) bool) error { return c.until(unix.POLLOUT, f) }

func (c *Caller) until(events int16, f func(fd uintptr) bool) error {
	for !f(uintptr(c.fd)) {
		if err := c.wait([]unix.PollFd{{Fd: int32(c.fd), Events: events}}, slice); err != nil {
			return err
		}
	}
	return nil
}

// pause waits a moment.
func (c *Caller) pause() error { return c.wait(nil, slice/20) }

// wait waits once, at most most.
func (c *Caller) wait(fds []unix.PollFd, most time.Duration) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	end := c.end
	if d, ok := c.ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	left := time.Until(end)
	if left <= 0 {
		return os.ErrDeadlineExceeded
	}
	_, err := unix.Poll(fds, int((min(left, most)+time.Millisecond-1)/time.Millisecond))
	if err == unix.EINTR {
		err = nil
	}
	return os.NewSyscallError("poll", err)
}
