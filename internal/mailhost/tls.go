package mailhost

import (
	"context"

	"mailproxy/internal/config"
	"mailproxy/internal/tlsconf"
)

// encrypt encrypts a fresh connection to a mailhost, or arranges that its Login does. The certificate
// must be for m.Host. Whatever fails makes the server unusable: nothing is ever said to it in clear text
// instead. To PROXY_LOCAL, on this machine, it is not encrypted.
func (d *Dialer) encrypt(ctx context.Context, m *Conn) error {
	start := func(ctx context.Context) error {
		c, err := tlsconf.NewClient(d.Config.Mailhost, m.Host)
		if err != nil {
			return &StepError{StepTLS, err}
		}
		conn, err := tlsconf.Connect(ctx, m.Conn, c)
		if err != nil {
			return &StepError{StepTLS, err}
		}
		m.Conn, m.TLS, m.StartTLS = conn, true, nil
		deadline, _ := ctx.Deadline()
		return conn.SetDeadline(deadline) // which the handshake has taken off
	}
	if m.Local {
		return nil
	}
	switch d.mode(m.Mode) {
	case config.ModeTLS:
		return start(ctx)
	case config.ModeStartTLS:
		m.StartTLS = start
	}
	return nil
}
