package pop3

import (
	"context"
	"strings"
)

// capability is CAPA, RFC 2449 section 5. The list is Courier's, which the local server repeats after login,
// and the response codes that this program uses.
func (d *dialogue) capability(_ context.Context, _ string) error {
	return d.ok("+OK Here's what I can do:\r\n" + strings.Join(d.Capabilities(), "\r\n") + "\r\n.")
}

// Capabilities is part of frontend.Dialogue: no SASL and no USER where they would be refused for want of TLS,
// and no PIPELINING then, or a client would send PASS along with the USER that is refused.
func (d *dialogue) Capabilities() []string {
	var list []string
	if names := d.mechanisms(); len(names) > 0 && !d.s.NeedsTLS() {
		list = append(list, "SASL "+strings.Join(names, " "))
	}
	if d.s.OffersStartTLS() {
		list = append(list, "STLS")
	}
	list = append(list, "TOP")
	if !d.s.NeedsTLS() {
		list = append(list, "USER")
	}
	list = append(list, "LOGIN-DELAY 10")
	if !d.s.NeedsTLS() {
		list = append(list, "PIPELINING")
	}
	list = append(list, "UIDL")
	if d.s.Config.UTF8 {
		list = append(list, "UTF8 USER")
	}
	return append(list,
		"LANG",
		"RESP-CODES",     // RFC 2449 section 6.4
		"AUTH-RESP-CODE", // RFC 3206 section 6
		"IMPLEMENTATION mailproxy")
}

// mechanisms returns what CAPA says about SASL. AUTH takes every mechanism there is, listed or not, as
// Courier does, except those that not every account can use (SCRAM, tokens).
func (d *dialogue) mechanisms() []string { return d.s.Mechanisms(d.listed()) }

// listed are the mechanisms of the settings: POP3AUTH_TLS under TLS when it is set, else POP3AUTH, and
// EXTERNAL, for a client whose certificate names a user.
func (d *dialogue) listed() []string {
	c := &d.s.Config.POP3
	list := c.Auth
	if d.s.TLS && c.AuthTLS != "" {
		list = c.AuthTLS
	}
	return append(strings.Fields(list), "EXTERNAL")
}
