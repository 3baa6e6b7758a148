package pop3

import (
	"context"
	"strings"
)

// capa is RFC 2449 section 5. The list is Courier's, which the local server repeats after login, and the response codes
// that this program uses.
func (d *dialogue) capa(_ context.Context, _ string) error {
	return d.ok("+OK Here's what I can do:\r\n" + strings.Join(d.capabilities(), "\r\n") + "\r\n.")
}

// capabilities is the list itself.
func (d *dialogue) capabilities() []string {
	var list []string
	if sasl := d.mechanisms(); sasl != "" {
		list = append(list, "SASL "+sasl)
	}
	if d.s.OffersStartTLS() {
		list = append(list, "STLS")
	}
	return append(list,
		"TOP",
		"USER",
		"LOGIN-DELAY 10",
		"PIPELINING",
		"UIDL",
		"UTF8 USER",
		"LANG",
		"RESP-CODES",     // RFC 2449 section 6.4
		"AUTH-RESP-CODE", // RFC 3206 section 6
		"IMPLEMENTATION mailproxy")
}

// mechanisms returns what CAPA says about SASL: POP3AUTH_TLS under TLS when it is set, else POP3AUTH, and EXTERNAL for a
// client whose certificate names a user. AUTH takes every mechanism there is, listed or not, as Courier does.
func (d *dialogue) mechanisms() string {
	c := &d.s.Config.POP3
	list := c.Auth
	if d.s.TLS && c.AuthTLS != "" {
		list = c.AuthTLS
	}
	names := strings.Fields(strings.ToUpper(list))
	if d.s.ExternalName() != "" {
		names = append(names, "EXTERNAL")
	}
	return strings.Join(names, " ")
}
