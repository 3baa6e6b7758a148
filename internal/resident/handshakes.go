package resident

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"runtime"

	"mailproxy/internal/config"
	"mailproxy/internal/frontend"
	"mailproxy/internal/limits"
	"mailproxy/internal/tlsconf"
)

// handshakes makes the handshakes with clients, MAXHANDSHAKES at a time.
type handshakes struct {
	frontend.TLS
	limit *limits.Handshakes
}

func newHandshakes(c *config.Config) handshakes {
	return handshakes{
		frontend.FileTLS{Settings: c.TLS, Memory: &tlsconf.Memory{}},
		limits.NewHandshakes(cmp.Or(c.Limits.Handshakes, runtime.GOMAXPROCS(0))),
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
	limited, end := h.limit.Limit(ctx, socket)
	defer end()
	return h.TLS.Handshake(ctx, limited, o)
}
