package pop3

import (
	"context"

	"mailproxy/internal/login"
)

// user is USER, RFC 1939 section 7. The name is the whole rest of the line. Whether there is such a user is
// never said: PASS decides.
func (d *dialogue) user(_ context.Context, arg string) error {
	if arg == "" {
		return d.bad(textError)
	}
	if d.s.NeedsTLS() {
		return d.ok(textNeedTLS)
	}
	d.name = arg
	return d.ok("+OK Password required.")
}

// pass is PASS, RFC 1939 section 7: "a server may treat spaces in the argument as part of the password", at
// both ends too.
func (d *dialogue) pass(ctx context.Context, arg string) error {
	if d.name == "" || arg == "" {
		return d.ok("-ERR USER/PASS required.")
	}
	return d.tryLogin(ctx, textLoginFailed, login.Password(d.name, arg))
}
