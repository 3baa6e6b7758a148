package pop3

import (
	"context"

	"mailproxy/internal/login"
)

// logout is QUIT, RFC 1939 section 4.
func (d *dialogue) logout(_ context.Context, _ string) error {
	d.s.LogLogout(d.rcvd+d.in.Count(), d.sent)
	d.s.LogDisconnected(login.EndClosed) // Courier writes both lines
	_ = d.reply(textLoggingOut)          // a client that has left already is none the worse
	return &exit{exitOK}
}
