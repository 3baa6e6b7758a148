package frontend

import (
	"syscall"

	"golang.org/x/sys/unix"

	"mailproxy/internal/connection"
	"mailproxy/internal/launch"
)

// hungUp says whether the client has closed its connection, or its side of it, without reading anything.
func (c *Conn) hungUp() bool {
	sc, ok := connection.Bottom(c.Client).(syscall.Conn)
	if !ok {
		return false
	}
	gone := false
	err := launch.Control(sc, func(fd int) error {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		for {
			// A signal ends poll even when it does not wait; Go's scheduler sends them to its own threads.
			n, err := unix.Poll(fds, 0)
			if err == unix.EINTR {
				continue
			}
			gone = n > 0 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
			return err
		}
	})
	return err != nil || gone
}
