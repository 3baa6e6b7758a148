package frontend

import (
	"strings"

	"mailproxy/internal/config"
	"mailproxy/internal/text"
)

// loginName returns the name that the auth module is asked for when a client says user: in lower case where
// LOGIN_LOWERCASE says so, and with the default domain when it has none.
func loginName(c *config.Config, user string) string {
	if c.LowerCase {
		user = text.Lower(user)
	}
	if c.DefDomain == "" || strings.ContainsAny(user, c.DomainSep) {
		return user
	}
	return user + c.DefDomain
}
