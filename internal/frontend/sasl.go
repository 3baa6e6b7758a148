package frontend

import (
	"strings"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/login"
)

// Exchange holds a SASL exchange with the client, see login.Session.Exchange.
func (c *Conn) Exchange(client sasl.Client, mechanism, initial string) (*login.Credentials, error) {
	return c.Session.Exchange(client, mechanism, initial, sasl.Options{External: c.ExternalName()})
}

// Mechanisms returns those of a list that a client can use on the connection as it is, in upper case, in
// order and none twice.
func (c *Conn) Mechanisms(list []string) []string {
	var names []string
	seen := map[string]bool{}
	for _, name := range list {
		if name = strings.ToUpper(name); !seen[name] && sasl.Known(name, c.ExternalName()) {
			names = append(names, name)
		}
		seen[name] = true
	}
	return names
}
