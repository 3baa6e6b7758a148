package pop3

import (
	"context"
	"fmt"

	"mailproxy/internal/connection"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/text"
)

// utf8 tells the mailhost what the client said. One that refuses it, or hangs up on it, is logged in to
// without, as long as name and password do not need it.
func (u *upstream) utf8(context.Context) error {
	need := !text.IsASCII(u.m.User + u.m.Password + u.m.Authzid)
	if !u.m.UTF8 || u.m.LeaveOut && !need {
		return nil
	}
	u.Step = mailhost.StepUTF8
	r, err := u.command("UTF8")
	switch {
	case connection.HungUp(err) && !need:
		return &mailhost.HungUpError{What: "UTF8", Err: err}
	case err != nil, r.status == statusOK, !need:
		return err
	}
	return fmt.Errorf("name or password are not ASCII, and UTF8 is refused: %w", u.accepted(r, nil))
}
