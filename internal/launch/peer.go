package launch

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"strconv"

	"mailproxy/internal/config"
	"mailproxy/internal/facts"
)

// Peer is the two ends of the client's connection, as text. IPv4 addresses that this package finds out by
// itself are written as Courier's launcher does, ::ffff:192.0.2.7; what the launcher said is kept as it is.
type Peer struct {
	// RemoteIP and RemotePort are the client's; "127.0.0.1" and "N/A" when nobody knows, as in Courier.
	RemoteIP, RemotePort string
	// LocalIP and LocalPort are ours; empty when nobody knows.
	LocalIP, LocalPort string
	// TLS is what somebody who decrypts for us has told of the client's TLS.
	TLS facts.TLS
}

// Remote is the client's address and port; the zero value when nobody knows.
func (p Peer) Remote() netip.AddrPort { return addrPort(p.RemoteIP, p.RemotePort) }

// Local is our address and port; the zero value when nobody knows.
func (p Peer) Local() netip.AddrPort { return addrPort(p.LocalIP, p.LocalPort) }

func addrPort(ip, port string) netip.AddrPort {
	addr, err := netip.ParseAddr(ip)
	n, perr := strconv.ParseUint(port, 10, 16)
	if errors.Join(err, perr) != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(n))
}

// NewPeer returns the peer as couriertcpd, tcpserver or tcpsvd name it in the environment (TCPREMOTEIP and so
// on), or systemd (REMOTE_ADDR, REMOTE_PORT); what is missing there comes from the socket.
func NewPeer(environment config.Raw, conn net.Conn) Peer {
	remoteIP, remotePort := endpoint(conn.RemoteAddr())
	localIP, localPort := endpoint(conn.LocalAddr())
	systemdIP := ""
	if addr, err := netip.ParseAddr(environment.Get("REMOTE_ADDR")); err == nil {
		systemdIP = AddressText(addr)
	}
	return Peer{
		RemoteIP:   cmp.Or(environment.Get("TCPREMOTEIP"), systemdIP, remoteIP, "127.0.0.1"),
		RemotePort: cmp.Or(environment.Get("TCPREMOTEPORT"), environment.Get("REMOTE_PORT"), remotePort, "N/A"),
		LocalIP:    cmp.Or(environment.Get("TCPLOCALIP"), localIP),
		LocalPort:  cmp.Or(environment.Get("TCPLOCALPORT"), localPort),
		TLS:        facts.Extract(environment.Texts()),
	}
}

// endpoint returns the address and the port of a TCP address, and nothing for any other kind.
func endpoint(addr net.Addr) (ip, port string) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.AddrPort().IsValid() {
		return "", ""
	}
	return AddressText(tcp.AddrPort().Addr()), strconv.Itoa(tcp.Port)
}

// AddressText writes an address as couriertcpd does: IPv4 mapped into IPv6, no zone.
func AddressText(addr netip.Addr) string {
	addr = addr.WithZone("")
	if addr.Is4() {
		addr = netip.AddrFrom16(addr.As16())
	}
	return addr.String()
}
