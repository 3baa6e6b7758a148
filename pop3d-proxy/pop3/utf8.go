package pop3

import (
	"context"
	"fmt"

	"mailproxy/internal/connection"
	"mailproxy/internal/mailhost"
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

// utf8 tells the mailhost what the client said. One that refuses it, or hangs up on it, is logged in to
// without, as long as name and password do not need it.
func (u *upstream) utf8(context.Context) error {
	need := !isASCII(u.m.User) || !isASCII(u.m.Password) || !isASCII(u.m.Authzid)
	if !u.m.UTF8 || u.m.LeaveOut && !need {
		return nil
	}
	u.step = mailhost.StepUTF8
	r, err := u.command("UTF8")
	switch {
	case connection.HungUp(err) && !need:
		return &mailhost.HungUpError{What: "UTF8", Err: err}
	case err != nil, r.status == statusOK, !need:
		return err
	}
	return fmt.Errorf("name or password are not ASCII, and UTF8 is refused: %w", u.accepted(r, nil))
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}
