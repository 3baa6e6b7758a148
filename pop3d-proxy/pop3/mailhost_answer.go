package pop3

import (
	"context"

	"mailproxy/internal/mailhost"
)

// follow puts together what the client reads as the answer to its login.
func (u *upstream) follow(context.Context) error {
	u.Step = mailhost.StepLogin
	if err := u.inStep(); err != nil {
		return err
	}
	answer := textProxied
	if u.m.Local { // the words are the local server's
		answer = u.final
	}
	u.m.Answer = []byte(answer + crlf)
	return nil
}
