package frontend

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	"mailproxy/internal/config"
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

// announce sends a PROXY header in front of everything else when PROXY_FORWARD_CLIENT says so.
func (s *Conn) announce(m *Mailhost) error {
	version, ok := map[config.Forward]int{config.ForwardPROXY1: 1, config.ForwardPROXY2: 2}[s.Config.Forward]
	if !ok {
		return nil
	}
	client, server := addrPort(s.Peer.RemoteIP, s.Peer.RemotePort), addrPort(s.Peer.LocalIP, s.Peer.LocalPort)
	header, err := haproxy.Format(version, client, server)
	if err == nil {
		_, err = m.Conn.Write(header)
	}
	if err != nil {
		return &StepError{StepConnect, err}
	}
	return nil
}

func addrPort(ip, port string) netip.AddrPort {
	addr, err := netip.ParseAddr(ip)
	n, perr := strconv.ParseUint(port, 10, 16)
	if errors.Join(err, perr) != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(n))
}
