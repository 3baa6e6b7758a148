package imap

import (
	"context"

	"mailproxy/internal/login"
)

// login is RFC 3501 section 6.2.3.
func (d *dialogue) login(ctx context.Context, tag string) error {
	if d.s.NeedsTLS() {
		return d.refuseWithoutTLS(tag) // before any literal is asked for: the password shall not be sent at all
	}
	user, err := d.cmd.astring()
	if err != nil {
		return err
	}
	password, err := d.cmd.astring()
	if err != nil {
		return err
	}
	if err := d.cmd.end(); err != nil {
		return err
	}
	return d.tryLogin(ctx, tag, login.Password(user, password))
}

func (d *dialogue) refuseWithoutTLS(tag string) error {
	if err := d.cmd.discard(); err != nil {
		return err
	}
	return d.s.Reply(tag + " " + textNeedTLS)
}
