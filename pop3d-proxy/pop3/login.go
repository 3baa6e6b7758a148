package pop3

import (
	"context"
	"errors"

	"mailproxy/internal/frontend"
	"mailproxy/internal/login"
)

// login takes credentials to the auth module and, where they hold, to the account's server, with which the
// client then talks. failed is what a refused client reads.
func (d *dialogue) login(ctx context.Context, failed string, c *login.Credentials) error {
	d.errors = 0
	outcome, err := d.s.Login(ctx, c, "")
	if err == nil && outcome.Mailhost == nil {
		return d.local(failed, outcome)
	}
	if err == nil {
		answer := "+OK Connected to proxy server.\r\n"
		if outcome.Mailhost.Local {
			answer = string(outcome.Mailhost.Answer)
		}
		err = d.s.Relay(ctx, outcome, answer)
	}
	switch {
	case err == nil:
		d.end(exitOK)
		return nil
	case errors.Is(err, frontend.ErrHome):
		d.end(exitFail)
		return d.reply(replyTemporary)
	case errors.Is(err, login.ErrRefused):
		return d.reply("-ERR [AUTH] " + failed)
	case errors.Is(err, login.ErrTemporary):
		return d.reply(replyTemporary)
	}
	if denied, ok := errors.AsType[*login.DeniedError](err); ok {
		return d.reply(denial(denied.Code, failed))
	}
	return err
}

// local becomes the local server, and returns only when that failed, or when a Carrier has the session.
func (d *dialogue) local(failed string, outcome *login.Outcome) error {
	utf8 := "UTF8=0"
	if d.utf8 {
		utf8 = "UTF8=1"
	}
	err := d.s.ExecLocal(outcome, "", utf8)
	switch {
	case err == nil:
		d.end(exitOK)
		return nil
	case errors.Is(err, login.ErrEnd):
		return err
	}
	if denied, ok := errors.AsType[*login.DeniedError](err); ok {
		return d.reply(denial(denied.Code, failed))
	}
	// The process may be half the account's user by now and must not serve anybody else.
	d.end(exitFail)
	return d.reply(replyTemporary)
}

// denial is the answer to a client that is who it says and is not let in: the response code with our own
// words, failed where it is the code of a wrong password. No code means that the login needs TLS, for which
// there is none.
func denial(code, failed string) string {
	switch code {
	case "":
		return replyTLSRequired
	case "AUTH":
		return "-ERR [AUTH] " + failed
	case "IN-USE":
		return "-ERR [IN-USE] Mailbox is in use, please try again later"
	case "LOGIN-DELAY":
		return "-ERR [LOGIN-DELAY] Too many logins, please try again later"
	case "SYS/PERM":
		return "-ERR [SYS/PERM] Mail server cannot open the mailbox, please call the postmaster"
	}
	return replyTemporary
}
