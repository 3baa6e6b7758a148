package pop3

import (
	"context"
	"strings"
)

// clientInfo is XCLIENT, what a proxy in front of us says. Only the hop count of it is used: how many proxies
// may still come: a client's address is taken from HAPROXY_ALLOW's balancers, and from nobody in this way.
func (d *dialogue) clientInfo(_ context.Context, arg string) error {
	for field := range strings.FieldsSeq(arg) {
		if name, value, _ := strings.Cut(field, "="); strings.EqualFold(name, "TTL") {
			d.s.LimitHops(value)
		}
	}
	return d.bad(textError)
}
