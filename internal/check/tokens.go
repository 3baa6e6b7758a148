package check

import (
	"slices"
	"strings"
)

// listed are the words of the settings that say which mechanisms clients are offered, on whatever connection,
// in upper case.
func (c *check) listed() []string {
	config := c.server.Config
	return strings.Fields(strings.ToUpper(config.IMAP.Capability + " " + config.IMAP.CapabilityTLS + " " +
		config.POP3.Auth + " " + config.POP3.AuthTLS))
}

// tokens are the mechanisms in which clients show tokens that the settings name.
func (c *check) tokens() []string {
	listed := c.listed()
	return slices.DeleteFunc([]string{"OAUTHBEARER", "XOAUTH2"}, func(name string) bool {
		return !slices.Contains(listed, name) && !slices.Contains(listed, "AUTH="+name)
	})
}

// compareTokens says which of these a mailhost does not offer, whose list before the login this is: clients
// that choose it are refused.
func (c *check) compareTokens(where string, list []string, encrypted bool) {
	for _, name := range c.tokens() {
		if offersMechanism(list, name) {
			continue
		}
		when := ""
		if !encrypted && (slices.Contains(list, "STARTTLS") || slices.Contains(list, "STLS")) {
			when = " before STARTTLS (PROXY_TLS=STARTTLS, or the account's option mailhosttls=STARTTLS, encrypts " +
				"the connection)"
		}
		c.report.warn("capability", "%s is offered, but not by %s%s: clients that choose it are refused",
			name, where, when)
	}
}

// offersMechanism says whether a list, in upper case, has a SASL mechanism.
func offersMechanism(list []string, name string) bool {
	return slices.ContainsFunc(list, func(entry string) bool {
		words := strings.Fields(entry)
		return entry == "AUTH="+name || len(words) > 0 && words[0] == "SASL" && slices.Contains(words[1:], name)
	})
}
