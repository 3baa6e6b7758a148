package frontend

import (
	"context"
	"net"
	"net/netip"

	"mailproxy/internal/login"
)

// System is what a session needs of the world around it besides its own connection. Tests put their own in.
type System struct {
	login.System
	// resolve finds the addresses of a host name, in the order to try them.
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial connects to a TCP address.
	Dial func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
}

// realSystem is the system itself.
func realSystem() *System {
	dialer := net.Dialer{KeepAlive: -1} // PROXY_KEEPALIVE sets it when the session is relayed
	return &System{
		System: login.RealSystem(),
		resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		Dial: func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", addr.String())
		},
	}
}
