package login

import (
	"strings"

	"mailproxy/internal/mailhost"
)

// IsHere says whether a mailhost is this host: its name is PROXY_HOSTNAME or the system's, without regard to
// case (RFC 4343), and its port is none, the protocol's own, or the one that the client is connected to,
// localPort. With another port it is another program on this host.
func (s *Service) IsHere(host mailhost.Host, localPort string) (bool, error) {
	if host.Port != "" && host.Port != s.Protocol.Port && host.Port != localPort {
		return false, nil
	}
	name := strings.TrimSuffix(host.Name, ".")
	if s.Config.Hostname != "" && strings.EqualFold(name, strings.TrimSuffix(s.Config.Hostname, ".")) {
		return true, nil
	}
	own, err := s.System.Hostname()
	if err != nil {
		return false, err
	}
	return own != "" && strings.EqualFold(name, strings.TrimSuffix(own, ".")), nil
}
