package frontend

import (
	"strings"

	"mailproxy/internal/config"
)

// loginName returns the name that the auth module is asked for when a client says user: with the default domain when it
// has none.
func loginName(c *config.Config, user string) string {
	if c.DefDomain == "" || strings.ContainsAny(user, c.DomainSep) {
		return user
	}
	return user + c.DefDomain
}
