package imap

import (
	"context"
)

// logout is RFC 3501 section 6.1.3.
func (d *dialogue) logout(ctx context.Context, tag string) error {
	if err := d.cmd.end(); err != nil {
		return err
	}
	if err := d.send("* BYE " + textLoggingOut + crlf + tag + " OK LOGOUT completed" + crlf); err != nil {
		return err
	}
	d.s.LogLogout(d.rcvd+d.in.Count(), d.sent)
	return &exit{exitOK}
}
