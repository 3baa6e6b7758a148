package frontend

import (
	"context"
	"fmt"
	"strings"

	"mailproxy/internal/inetd"
	"mailproxy/internal/tlsconf"
)

// proxyTLS is the setting PROXY_TLS.
type proxyTLS int

const (
	proxyTLSOff   proxyTLS = iota // NO, and no setting: clear text
	proxyTLSStart                 // STARTTLS: STARTTLS or STLS on the clear-text port
	proxyTLSPort                  // YES: TLS from the first byte, on port 993 or 995
)

func parseProxyTLS(s inetd.Settings) (proxyTLS, error) {
	switch value := s.Get("PROXY_TLS"); strings.ToUpper(value) {
	case "", "NO", "0":
		return proxyTLSOff, nil
	case "STARTTLS":
		return proxyTLSStart, nil
	case "YES", "1":
		return proxyTLSPort, nil
	default:
		return 0, fmt.Errorf("PROXY_TLS=%q: must be NO, STARTTLS or YES", value)
	}
}

// encryptMailhost encrypts a fresh connection to a mailhost, or arranges that its Login does. The
// certificate must be for m.Host. Whatever fails makes the server unusable: nothing is ever said to it in clear text instead.
func (s *Session) encryptMailhost(ctx context.Context, m *Mailhost) error {
	if s.Config.TLS == proxyTLSOff {
		return nil
	}
	start := func(ctx context.Context) error {
		config, err := tlsconf.NewClient(s.tlsOptions(false), m.Host)
		if err != nil {
			return &StepError{StepTLS, err}
		}
		conn, err := tlsconf.Connect(ctx, m.Conn, config)
		if err != nil {
			return &StepError{StepTLS, err}
		}
		m.Conn, m.StartTLS = conn, nil
		deadline, _ := ctx.Deadline()
		return conn.SetDeadline(deadline) // which the handshake has taken off
	}
	if s.Config.TLS == proxyTLSPort {
		return start(ctx)
	}
	m.StartTLS = start
	return nil
}
