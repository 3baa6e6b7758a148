package main

import (
	"errors"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// waiter waits for an epoll descriptor by way of the runtime's poller, and asks it in system calls that the scheduler is not told of:
// they never wait. A thread that waits in epoll_wait(2) itself would have the runtime's watcher look after it, every 20 µs for a
// while, at each event: in a relayd with little to do that was two fifths of its processor time.
type waiter struct {
	file  *os.File
	raw   syscall.RawConn
	timed bool // the deadline is set
}

// newWaiter takes over an epoll descriptor, also when it fails.
func newWaiter(epoll int) (*waiter, error) {
	// Only descriptors that do not wait are given to the runtime's poller.
	if err := unix.SetNonblock(epoll, true); err != nil {
		unix.Close(epoll)
		return nil, os.NewSyscallError("fcntl", err)
	}
	w := &waiter{file: os.NewFile(uintptr(epoll), "epoll")}
	err := w.file.SetReadDeadline(time.Time{}) // an error if the poller did not take it
	if err == nil {
		w.raw, err = w.file.SyscallConn()
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// wait returns how many events there are, 0 when there was none within the timeout; 0 = no timeout.
func (w *waiter) wait(events []unix.EpollEvent, timeout time.Duration) (n int, err error) {
	if timeout > 0 || w.timed {
		var end time.Time
		if w.timed = timeout > 0; w.timed {
			end = time.Now().Add(timeout)
		}
		if err := w.file.SetReadDeadline(end); err != nil {
			return 0, err
		}
	}
	rerr := w.raw.Read(func(fd uintptr) bool {
		r, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
		switch errno {
		case 0:
			n = int(r)
		case unix.EINTR:
		default:
			err = os.NewSyscallError("epoll_pwait", errno)
		}
		return n > 0 || err != nil
	})
	if errors.Is(rerr, os.ErrDeadlineExceeded) {
		return 0, nil
	}
	return n, errors.Join(rerr, err)
}

func (w *waiter) close() { w.file.Close() }
