package frontend

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// noDelay has a TCP connection send small packets at once.
func noDelay(conn net.Conn) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := socket.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) })
	}
}
