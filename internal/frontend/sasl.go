package frontend

import (
	"context"
	"strings"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/login"
	"mailproxy/internal/tlsconf"
)

// Exchange holds a SASL exchange with the client, see login.Session.Exchange; listed are the mechanisms that
// the settings name.
func (c *Conn) Exchange(
	ctx context.Context, mechanism, initial string, listed []string,
) (*login.Credentials, error) {
	return c.Session.Exchange(ctx, saslClient{c}, mechanism, initial, c.saslOptions(listed))
}

// saslClient is the client in a SASL exchange.
type saslClient struct{ c *Conn }

func (s saslClient) Challenge(text string) error { return s.c.Reply("+ " + text) }

func (s saslClient) ReadLine(limit int) ([]byte, error) { return s.c.In.ReadLine(limit) }

// Mechanisms returns those of a list that a client can use on the connection as it is, in upper case, in
// order and none twice.
func (c *Conn) Mechanisms(listed []string) []string {
	return c.Session.Mechanisms(c.saslOptions(listed))
}

// saslOptions are what the mechanisms are told of the connection.
func (c *Conn) saslOptions(listed []string) sasl.Options {
	o := sasl.Options{External: c.ExternalName()}
	binds := false
	for _, name := range listed {
		name = strings.ToUpper(name)
		o.Listed = append(o.Listed, name)
		binds = binds || sasl.Binds(name)
	}
	if conn, ok := c.Client.(interface{ Bindings() []tlsconf.Binding }); ok && binds {
		for _, b := range conn.Bindings() {
			o.Bindings = append(o.Bindings, sasl.Binding(b))
		}
	}
	return o
}
