package mailhost

import (
	"mailproxy/internal/config"
	"mailproxy/internal/haproxy"
)

// announce sends a PROXY header in front of everything else, when PROXY_FORWARD_CLIENT says so and to
// PROXY_LOCAL always.
func (d *Dialer) announce(m *Conn) error {
	version, ok := map[config.Forward]int{config.ForwardPROXY1: 1, config.ForwardPROXY2: 2}[d.Config.Forward]
	client, server := m.Client.Remote(), m.Client.Local()
	var header []byte
	var err error
	switch {
	case m.Local && m.ClientTLS:
		header, err = haproxy.FormatTLS(client, server, m.Client.TLS.Protocol())
	case m.Local:
		header, err = haproxy.Format(2, client, server)
	case !ok:
		return nil
	default:
		header, err = haproxy.Format(version, client, server)
	}
	if err == nil {
		_, err = m.Conn.Write(header)
	}
	if err != nil {
		return &StepError{StepConnect, err}
	}
	return nil
}
