package pop3

import (
	"context"
)

// userCommand is USER, RFC 1939 section 7. The name is the whole rest of the line. Whether there is such a
// user is never said: PASS decides.
func (d *dialogue) userCommand(_ context.Context, arg string) error {
	if arg == "" {
		return d.bad(replyInvalid)
	}
	if d.s.NeedsTLS() {
		return d.ok(replyTLSRequired)
	}
	d.user = arg
	return d.ok("+OK Password required.")
}
