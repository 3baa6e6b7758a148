package engine

import (
	"time"

	"golang.org/x/sys/unix"
)

func read(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// write does not raise SIGPIPE, which would end a process whose standard output is the connection.
func write(fd int, p []byte) (int, error) {
	for {
		n, err := unix.SendmsgN(fd, p, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// writeAll is write for bytes in several places: long ones are not brought together first.
func writeAll(fd int, p [][]byte) (int, error) {
	if len(p) == 1 {
		return write(fd, p[0])
	}
	for {
		n, err := unix.SendmsgBuffers(fd, p, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func splice(from, to, n int) (int, error) {
	for {
		m, err := unix.Splice(from, nil, to, nil, n, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if err != unix.EINTR {
			return int(max(m, 0)), err
		}
	}
}

// undelivered returns how many bytes a socket's peer has not acknowledged (of a unix socket: not read). 0
// where the kernel does not tell.
func undelivered(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// tune sets TCP_NODELAY and, when keepAlive is not 0, TCP keepalive after that idle time: four probes a
// minute apart decide. A file descriptor that is not TCP is left as it is.
func tune(fd int, keepAlive time.Duration) {
	if unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) != nil {
		return
	}
	if keepAlive <= 0 {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0)
		return
	}
	idle := max(1, min(int(keepAlive/time.Second), 32767))
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, idle)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, min(60, idle))
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
}

func closeAll(fds ...int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
