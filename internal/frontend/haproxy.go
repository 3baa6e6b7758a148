package frontend

import (
	"net"
	"net/netip"
	"strconv"

	"mailproxy/internal/facts"
	"mailproxy/internal/haproxy"
	"mailproxy/internal/launch"
	"mailproxy/internal/line"
	"mailproxy/internal/login"
)

// acceptHeader takes the PROXY header off the connection when HAPROXY=1 and a balancer of HAPROXY_ALLOW has
// connected, and makes the client it names the peer. Everybody else is taken for a client. It is
// called before anything else is read. After an error, which is logged, the connection is to be closed
// without a word.
func (c *Conn) acceptHeader() error {
	if c.Config.Balancers == nil {
		return nil
	}
	from, ok := c.Client.RemoteAddr().(*net.TCPAddr)
	if !ok || !c.Config.Balancers.Contain(from.AddrPort().Addr()) {
		return nil
	}
	if told, err := netip.ParseAddr(c.Peer.RemoteIP); err == nil &&
		told.Unmap() != from.AddrPort().Addr().Unmap() {
		// couriertcpd -haproxy has taken the header already: it says that the client is somebody else.
		return nil
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
