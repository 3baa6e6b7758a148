package pop3

import (
	"context"

	"mailproxy/internal/frontend"
	"mailproxy/internal/login"
)

// logout is QUIT, RFC 1939 section 4.
func (d *dialogue) logout(_ context.Context, _ string) error {
	d.s.LogLogout()
	d.s.LogDisconnected(login.EndClosed) // Courier writes both lines
	_ = d.s.Reply(textLoggingOut)        // the client may have left already
	return frontend.Done
}
