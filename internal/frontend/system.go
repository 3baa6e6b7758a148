package frontend

import (
	"context"
	"net"
	"net/netip"
	"os"
	"time"
)

// System is what a session needs of the world around it besides its own connection. Tests put their own in.
type System struct {
	// Now is the clock.
	Now func() time.Time
	// Sleep waits, or returns early when ctx ends.
	Sleep func(ctx context.Context, d time.Duration)
	// Hostname is gethostname(2).
	Hostname func() (string, error)
	// Resolve finds the addresses of a host name, in the order to try them.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial connects to a TCP address.
	Dial func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
}

// RealSystem is the system itself.
func RealSystem() *System {
	dialer := net.Dialer{KeepAlive: -1} // PROXY_KEEPALIVE sets it when the session is relayed
	return &System{
		Now: time.Now,
		Sleep: func(ctx context.Context, d time.Duration) {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		},
		Hostname: os.Hostname,
		Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		Dial: func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", addr.String())
		},
	}
}
