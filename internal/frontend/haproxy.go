package frontend

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	"mailproxy/internal/facts"
	"mailproxy/internal/haproxy"
	"mailproxy/internal/launch"
	"mailproxy/internal/line"
)

// acceptHeader takes the PROXY header off the connection when HAPROXY=1 and a balancer of HAPROXY_ALLOW has
// connected, and makes the client it names the peer. Everybody else is taken for a client of his own. It is
// called before anything else is read. After an error, which is logged, the connection is to be closed
// without a word.
func (s *Conn) acceptHeader() error {
	if s.Config.Balancers == nil {
		return nil
	}
	from, ok := s.Client.RemoteAddr().(*net.TCPAddr)
	if !ok || !s.Config.Balancers.Contain(from.AddrPort().Addr()) {
		return nil
	}
	if told, err := netip.ParseAddr(s.Peer.RemoteIP); err == nil &&
		told.Unmap() != from.AddrPort().Addr().Unmap() {
		// couriertcpd -haproxy has taken the header already: it says that the client is somebody else.
		return nil
	}
	h, err := haproxy.Read(line.NewReader(s.Client))
	if err != nil {
		s.logNoHeader(err)
		return ErrEnd
	}
	if h.Local {
		return nil
	}
	s.Peer = launch.Peer{
		RemoteIP: launch.AddressText(h.Client.Addr()), RemotePort: strconv.Itoa(int(h.Client.Port())),
		LocalIP: launch.AddressText(h.Server.Addr()), LocalPort: strconv.Itoa(int(h.Server.Port())),
		TLS: headerFacts(h),
	}
	s.tlsAtBalancer = h.TLS
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

// bareCheck is the time within which a health check that only connects has closed its connection again.
// Clients behind a balancer that forgets its header wait longer for a greeting.
const bareCheck = 5 * time.Second

// logNoHeader says why a balancer's connection is closed.
func (s *Conn) logNoHeader(err error) {
	if errors.Is(err, haproxy.ErrNothing) && s.System.Now().Sub(s.Started) < bareCheck {
		s.Log.Debugf("Disconnected, %s: health check without a PROXY header", s.where())
		return
	}
	s.Log.Warnf("HAPROXY=1, but no PROXY header from %s: %s (send-proxy or send-proxy-v2 must be set there)",
		s.Client.RemoteAddr(), cause(err))
}
