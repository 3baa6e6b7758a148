package pop3

import "context"

// utf8Command is RFC 6856 section 2: the client reads UTF-8 from now on. The server that holds the account is told.
func (d *dialogue) utf8Command(_ context.Context, _ string) error {
	d.utf8 = true
	return d.ok("+OK UTF8 enabled")
}
