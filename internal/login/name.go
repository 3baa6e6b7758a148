package login

import (
	"strings"

	"mailproxy/internal/text"
)

// LoginName returns the name that the auth module is asked for when a client says user: in lower case where
// LOGIN_LOWERCASE says so, and with the default domain when it has none.
func (s *Service) LoginName(user string) string {
	c := s.Config
	if c.LowerCase {
		user = text.Lower(user)
	}
	if c.DefDomain == "" || strings.ContainsAny(user, c.DomainSep) {
		return user
	}
	return user + c.DefDomain
}
