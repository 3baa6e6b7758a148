package frontend

import (
	"net"
	"syscall"
	"time"

	"mailproxy/relay"
)

// tune has a TCP connection send small packets at once and notice a dead peer, whatever encryption lies over it.
// keepalive 0 = never.
func tune(conn net.Conn, keepalive time.Duration) {
	if outer, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = outer.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := socket.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { relay.Tune(int(fd), keepalive) })
	}
}
