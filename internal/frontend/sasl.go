package frontend

import (
	"context"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/login"
	"mailproxy/internal/tlsconf"
)

// Exchange holds a SASL exchange with the client, see login.Session.Exchange.
func (c *Conn) Exchange(
	ctx context.Context, mechanism, initial string, listed []string,
) (*login.Credentials, error) {
	return c.Session.Exchange(ctx, saslClient{c}, mechanism, initial, listed)
}

// saslClient is the client in a SASL exchange.
type saslClient struct{ c *Conn }

func (s saslClient) Challenge(text string) error { return s.c.Reply("+ " + text) }

func (s saslClient) ReadLine(limit int) ([]byte, error) { return s.c.In.ReadLine(limit) }

// bindings are the channel bindings of the connection as it is.
func (c *Conn) bindings() (list []sasl.Binding) {
	if conn, ok := c.Client.(interface{ Bindings() []tlsconf.Binding }); ok {
		for _, b := range conn.Bindings() {
			list = append(list, sasl.Binding(b))
		}
	}
	return list
}
