package pop3

import (
	"context"
)

// useUTF8 is UTF8, RFC 6856 section 2: the client reads UTF-8 from now on. The server that holds the account
// is told. Without POP3_UTF8 the client may ask that server itself, after the login.
func (d *dialogue) useUTF8(_ context.Context, _ string) error {
	if !d.s.Config.UTF8 {
		return d.ok("-ERR UTF8 not available.")
	}
	d.utf8 = true
	return d.ok("+OK UTF8 enabled")
}
