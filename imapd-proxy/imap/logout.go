package imap

import (
	"context"

	"mailproxy/internal/frontend"
)

// logout is RFC 3501 section 6.1.3.
func (d *dialogue) logout(ctx context.Context, tag string) error {
	if err := d.cmd.end(); err != nil {
		return err
	}
	if err := d.s.Reply("* BYE " + textLoggingOut + crlf + tag + " OK LOGOUT completed"); err != nil {
		return err
	}
	d.s.LogLogout()
	return frontend.Done
}
