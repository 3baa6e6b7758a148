package main

import "context"

// quit is QUIT, RFC 1939 section 4.
func (d *dialogue) quit(_ context.Context, _ string) error {
	d.end(exitOK)
	d.s.LogLogout(d.in.Count(), d.sent)
	return d.reply("+OK Better luck next time.")
}
