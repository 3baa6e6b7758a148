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
		revents, err := connection.Poll(fd, unix.POLLRDHUP)
		gone = revents != 0
		return err
	})
	return err != nil || gone
}
