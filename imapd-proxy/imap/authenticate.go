package imap

import (
	"context"
	"strings"
)

// authenticate is RFC 3501 section 6.2.2, with the initial response of RFC 4959.
func (d *dialogue) authenticate(ctx context.Context, tag string) error {
	if d.s.NeedsTLS() {
		return d.refuseWithoutTLS(tag)
	}
	mechanism, initial := d.cmd.word(), d.cmd.word()
	if mechanism == "" {
		return errSyntax
	}
	if err := d.cmd.end(); err != nil {
		return err
	}
	if initial == "=" && strings.EqualFold(mechanism, "EXTERNAL") {
		initial = "" // Courier prompts once more, and an empty line completes it
	}
	credentials, err := d.s.Exchange(ctx, mechanism, initial, d.listed())
	if err != nil {
		return err
	}
	return d.tryLogin(ctx, tag, credentials)
}
