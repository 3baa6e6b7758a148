package engine

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// noSlot is what epoll gives back for wake.
const noSlot = -1

// poller is an epoll(7) instance that one goroutine waits for, in one of two ways.
//
// In epoll_wait(2): the shortest way to an event. The scheduler sees a goroutine in a system call and takes
// its processor away only after a while (under a timer slack, a millisecond), for which all others may have
// to wait.
//
// As for any other file, by way of the runtime's poller, since epoll instances nest: two more system calls
// for each event, but goroutines that log users in never wait for it.
type poller struct {
	fd     int
	waker  int // an eventfd(2)
	events []unix.EpollEvent
	nested *nested // nil: wait waits in epoll_wait
}

// nested is what waiting by way of the runtime's poller needs.
type nested struct {
	file  *os.File
	raw   syscall.RawConn
	until time.Time // the file's deadline
	n     int
	err   error
	poll  func(uintptr) bool
}

// newPoller returns a poller that, except for wake, only wait's goroutine may use. shared: other goroutines
// have work to do while it waits.
func newPoller(shared bool) (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	p := &poller{fd: fd, waker: -1, events: make([]unix.EpollEvent, batch)}
	if shared {
		err = p.nest()
	}
	if err == nil {
		p.waker, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		err = os.NewSyscallError("eventfd", err)
	}
	if err == nil { // edge-triggered: each wake is one event, and nobody has to read
		err = p.watch(p.waker, noSlot, 0, unix.EPOLLIN|unix.EPOLLET, 0)
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return p, nil
}

func (p *poller) nest() error {
	err := unix.SetNonblock(p.fd, true) // by this os.NewFile knows that it can wait
	n := &nested{file: os.NewFile(uintptr(p.fd), "epoll")}
	p.nested = n
	if err == nil {
		n.raw, err = n.file.SyscallConn()
	}
	if err == nil {
		err = n.file.SetDeadline(time.Time{}) // an error where the runtime's poller does not take it
	}
	// The runtime is told once of events that come, so there must be none left when it is asked to wait.
	n.poll = func(uintptr) bool {
		n.n, n.err = unix.EpollWait(p.fd, p.events, 0)
		return n.n > 0 || n.err != nil && n.err != unix.EINTR
	}
	return err
}

// wait returns the events that have come, which are good until the next call. There may be none, and there
// are none at the time until; zero = never.
func (p *poller) wait(until time.Time) ([]unix.EpollEvent, error) {
	n, err := 0, error(nil)
	if p.nested != nil {
		n, err = p.nested.wait(until)
	} else {
		n, err = unix.EpollWait(p.fd, p.events, milliseconds(until))
	}
	switch {
	case err == unix.EINTR || errors.Is(err, os.ErrDeadlineExceeded):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return p.events[:n], nil
}

func (n *nested) wait(until time.Time) (int, error) {
	if until != n.until {
		if err := n.file.SetReadDeadline(until); err != nil {
			return 0, err
		}
		n.until = until
	}
	n.n, n.err = 0, nil
	if err := n.raw.Read(n.poll); err != nil {
		return 0, err
	}
	return n.n, n.err
}

// milliseconds is the time until t as epoll_wait takes it, never too short.
func milliseconds(t time.Time) int {
	if t.IsZero() {
		return -1
	}
	return int(max(time.Until(t)+time.Millisecond-1, 0) / time.Millisecond)
}

// wake has wait return. Any goroutine may call it, until close.
func (p *poller) wake() { _, _ = unix.Write(p.waker, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

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

func (p *poller) close() {
	if p.waker >= 0 {
		_ = unix.Close(p.waker)
	}
	if p.nested != nil {
		_ = p.nested.file.Close()
	} else {
		_ = unix.Close(p.fd)
	}
}
