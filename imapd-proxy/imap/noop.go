package imap

import (
	"context"
)

// noop is RFC 3501 section 6.1.2. It does not extend the time for logging in.
func (d *dialogue) noop(ctx context.Context, tag string) error {
	if err := d.cmd.end(); err != nil {
		return err
	}
	return d.s.Reply(tag + " OK NOOP completed")
}
