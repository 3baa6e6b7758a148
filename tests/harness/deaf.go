package harness

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Deaf listens on addr ("ip:port") and lets no connection in: its queue is full, and the kernel drops what
// comes. stop ends it, as does the test: who still tries to connect is refused.
func Deaf(t testing.TB, addr string) (stop func()) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(addr)
	if err := errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}),
		unix.Listen(fd, 0),
	); err != nil {
		unix.Close(fd)
		t.Fatal(err)
	}
	var queue []net.Conn
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		unix.Close(fd)
		for _, conn := range queue {
			conn.Close()
		}
	}
	t.Cleanup(stop)
	// The queue has room for one. On a busy machine it may take long to get in.
	limit := Patience
	for range 8 {
		conn, err := net.DialTimeout("tcp", addr, limit)
		if err != nil && queue == nil {
			t.Fatal(err)
		} else if err != nil {
			return stop
		}
		queue, limit = append(queue, conn), 200*time.Millisecond
	}
	t.Fatal("the kernel lets everybody in")
	return nil
}
