package frontend

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"mailproxy/internal/facts"
	"mailproxy/internal/haproxy"
	"mailproxy/internal/launch"
	"mailproxy/internal/line"
	"mailproxy/internal/login"
)

// acceptHeader takes the PROXY header off the connection when HAPROXY=1 and a balancer of HAPROXY_ALLOW has
// connected, and makes the client it names the peer. Everybody else is taken for a client, but at a unix
// socket that is for balancers. It is called before anything else is read. After an error, which is logged,
// the connection is to be closed without a word.
func (c *Conn) acceptHeader() error {
	if c.Config.Balancers == nil {
		return nil
	}
	sends, err := c.Config.Balancers.Check(c.Client)
	if err != nil {
		c.LogStranger(err)
		return login.ErrEnd
	}
	if !sends {
		return nil
	}
	var address netip.Addr       // none at a unix socket
	from := c.Client.LocalAddr() // which has a name there, and the other end has none
	if tcp, ok := c.Client.RemoteAddr().(*net.TCPAddr); ok {
		from, address = tcp, tcp.AddrPort().Addr()
		if told, err := netip.ParseAddr(c.Peer.RemoteIP); err == nil && told.Unmap() != address.Unmap() {
			// couriertcpd -haproxy has taken the header already: it says that the client is somebody else.
			return nil
		}
	}
	h, err := haproxy.Read(line.NewReader(c.Client))
	if err != nil {
		c.LogNoHeader(from, err)
		return login.ErrEnd
	}
	if h.Local {
		c.HealthCheck = true
		return nil
	}
	if h.CommonName != "" && address.IsValid() && isOfThisMachine(address) {
		if headerFacts(h).External(c.Config.TLS.External) != "" {
			c.LogNotProven(address)
		}
		h.CommonName = ""
	}
	c.Peer = launch.Peer{
		RemoteIP: launch.AddressText(h.Client.Addr()), RemotePort: strconv.Itoa(int(h.Client.Port())),
		LocalIP: launch.AddressText(h.Server.Addr()), LocalPort: strconv.Itoa(int(h.Server.Port())),
		TLS: headerFacts(h),
	}
	c.tlsAtBalancer = h.TLS
	return nil
}

// headerFacts are what a balancer says of the client's TLS. Without TLS there is nothing to say, whatever the
// launcher has said: that was about the balancer's own connection.
func headerFacts(h *haproxy.Header) facts.TLS {
	if !h.TLS {
		return facts.TLS{}
	}
	return facts.Over(h.TLSVersion).With("CN", h.CommonName)
}

// isOfThisMachine says whether an address is one of this machine's: whether a socket can be bound to it.
// Every local user can connect from there and say anything. What cannot be found out is taken for one.
func isOfThisMachine(addr netip.Addr) bool {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	if err == nil {
		_ = conn.Close()
	}
	return !errors.Is(err, syscall.EADDRNOTAVAIL)
}
