package frontend

import (
	"net"
	"time"
)

// tune has a TCP connection send small packets at once and notice a dead peer, whatever encryption lies over it.
// keepalive 0 = never.
func tune(conn net.Conn, keepalive time.Duration) {
	if outer, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = outer.NetConn()
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tcp.SetNoDelay(true)
	if keepalive == 0 {
		_ = tcp.SetKeepAlive(false)
		return
	}
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepalive, Interval: max(keepalive/10, time.Second), Count: 5})
}
