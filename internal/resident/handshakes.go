package resident

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"

	"mailproxy/internal/config"
	"mailproxy/internal/connection"
	"mailproxy/internal/frontend"
	"mailproxy/internal/limits"
	"mailproxy/internal/tlsconf"
)

// handshakes makes the handshakes with clients, MAXHANDSHAKES at a time.
type handshakes struct {
	frontend.TLS
	limit *limits.Handshakes
}

func newHandshakes(c *config.Config, certificates *tlsconf.Memory, processors int) handshakes {
	return handshakes{
		frontend.FileTLS{Settings: c.TLS, Memory: certificates},
		limits.NewHandshakes(cmp.Or(c.Limits.Handshakes, processors)),
	}
}

// Handshake is part of frontend.TLS.
func (h handshakes) Handshake(
	ctx context.Context, conn net.Conn, o tlsconf.Options,
) (*tlsconf.Conn, error) {
	socket, ok := conn.(limits.Socket)
	if !ok {
		return nil, fmt.Errorf("a %T is no socket", conn)
	}
	if err := awaitClient(ctx, socket); err != nil {
		return nil, err
	}
	limited, end := h.limit.Limit(ctx, socket)
	defer end()
	return h.TLS.Handshake(ctx, limited, o)
}

// awaitClient waits for the client's first byte, at most until the deadline of ctx, and leaves it where it
// is: a client that says nothing shall not cost what a handshake takes.
func awaitClient(ctx context.Context, conn limits.Socket) error {
	deadline, _ := ctx.Deadline()
	if err := conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	defer connection.Interrupt(ctx, conn.SetReadDeadline)()
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, failed = peek(int(fd))
		return failed != unix.EAGAIN
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case failed != nil:
		return &net.OpError{Op: "read", Net: "socket", Err: failed}
	case n == 0:
		return io.EOF
	}
	return nil
}

// peek looks for one byte.
func peek(fd int) (n int, err error) {
	var one [1]byte
	for {
		n, _, err = unix.Recvfrom(fd, one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return n, err
		}
	}
}
