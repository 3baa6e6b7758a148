package pop3

import (
	"context"

	"mailproxy/authlib"
	"mailproxy/internal/login"
)

// pass is PASS, RFC 1939 section 7: "a server may treat spaces in the argument as part of the password", at
// both ends too.
func (d *dialogue) pass(ctx context.Context, arg string) error {
	if d.user == "" || arg == "" {
		return d.ok("-ERR USER/PASS required.")
	}
	return d.login(ctx, "Login failed.", &login.Credentials{
		Mechanism: "LOGIN",
		Type:      authlib.AuthLogin,
		User:      d.user,
		Password:  arg,
		UTF8:      d.utf8,
	})
}
