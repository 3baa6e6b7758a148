package relaytest

import (
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a stream whose two directions end separately.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// Kind makes a connected pair of streams: near goes to the relay, far stays with the test.
type Kind struct {
	Name string
	Make func(t testing.TB) (near, far Conn)
	// Orderly says that a reset by far arrives as an ordinary end of the stream.
	Orderly bool
}

// Kinds are the transports that every relay is tried on.
func Kinds() []Kind {
	return []Kind{
		{Name: "tcp", Make: func(t testing.TB) (Conn, Conn) { return TCP(t, 0) }},
		{Name: "tcp-small", Make: func(t testing.TB) (Conn, Conn) { return TCP(t, 64<<10) }},
		{Name: "unix-small", Orderly: true, Make: func(t testing.TB) (Conn, Conn) { return Unix(t, 4096) }},
	}
}

// TCP returns a pair over loopback; buffers of size bytes unless 0.
func TCP(t testing.TB, size int) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	n, f := s.(*net.TCPConn), c.(*net.TCPConn)
	if size > 0 {
		for _, x := range []*net.TCPConn{n, f} {
			_ = x.SetReadBuffer(size)
			_ = x.SetWriteBuffer(size)
		}
	}
	own(t, n, f)
	return n, f
}

// Unix returns the two ends of a socketpair; buffers of size bytes unless 0.
func Unix(t testing.TB, size int) (near, far *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var c [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		n, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		c[i] = n.(*net.UnixConn)
		if size > 0 {
			_ = c[i].SetReadBuffer(size)
			_ = c[i].SetWriteBuffer(size)
		}
	}
	own(t, c[0], c[1])
	return c[0], c[1]
}

func own(t testing.TB, cs ...net.Conn) {
	for _, c := range cs {
		t.Cleanup(func() { c.Close() })
	}
	_ = cs[1].SetDeadline(time.Now().Add(3 * time.Minute))
}
