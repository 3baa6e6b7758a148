package pop3

import (
	"context"

	"mailproxy/internal/login"
)

// quit is QUIT, RFC 1939 section 4.
func (d *dialogue) quit(_ context.Context, _ string) error {
	d.end(exitOK)
	d.s.LogLogout(d.received+d.in.Count(), d.sent)
	d.s.LogDisconnected(login.EndClosed) // Courier writes both lines
	return d.reply("+OK Better luck next time.")
}
