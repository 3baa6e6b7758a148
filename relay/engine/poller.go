package engine

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller is an epoll(7) instance that a goroutine waits for as for any other file, by way of the runtime's
// poller: epoll descriptors nest. A goroutine that waited in epoll_wait(2) would be in a system call for the
// scheduler, which takes its processor away from it only after a while, under a timer slack a millisecond;
// logins would wait for that, and every event would cost a switch of threads.
type poller struct {
	fd     int
	file   *os.File
	raw    syscall.RawConn
	events []unix.EpollEvent
	n      int
	err    error
	poll   func(uintptr) bool
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	err = unix.SetNonblock(fd, true) // by this os.NewFile knows that it can wait
	p := &poller{fd: fd, file: os.NewFile(uintptr(fd), "epoll"), events: make([]unix.EpollEvent, batch)}
	if err == nil {
		p.raw, err = p.file.SyscallConn()
	}
	if err == nil {
		err = p.file.SetDeadline(time.Time{}) // an error where the runtime's poller does not take it
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	// The runtime is told once of events that come, so there must be none left when it is asked to wait.
	p.poll = func(uintptr) bool {
		p.n, p.err = unix.EpollWait(p.fd, p.events, 0)
		return p.n > 0 || p.err != nil && p.err != unix.EINTR
	}
	return p, nil
}

// wait returns the events that have come, which are good until the next call. There are none when the
// deadline is over.
func (p *poller) wait() ([]unix.EpollEvent, error) {
	p.n, p.err = 0, nil
	err := p.raw.Read(p.poll)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return p.events[:max(p.n, 0)], p.err
}

// setDeadline says when wait returns without an event; zero = never. It may be called while another goroutine
// waits.
func (p *poller) setDeadline(t time.Time) { _ = p.file.SetReadDeadline(t) }

// watch has epoll report the events in mask at a file descriptor as those of leg n of a slot; was is the mask
// that it has for it, 0 = none.
func (p *poller) watch(fd int, slot int32, n int, mask, was uint32) error {
	op := unix.EPOLL_CTL_MOD
	switch {
	case was == 0:
		op = unix.EPOLL_CTL_ADD
	case mask == 0: // EPOLLHUP cannot be masked: a leg that waits for nothing must not be watched
		op = unix.EPOLL_CTL_DEL
	}
	return unix.EpollCtl(p.fd, op, fd, &unix.EpollEvent{Events: mask, Fd: slot, Pad: int32(n)})
}

func (p *poller) close() { _ = p.file.Close() }
