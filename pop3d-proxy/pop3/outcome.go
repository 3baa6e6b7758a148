package pop3

import (
	"context"
	"errors"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/frontend"
	"mailproxy/internal/login"
)

// tryLogin takes credentials to package login and tells the client what came of them. After a success the
// session is over for us: a Carrier has it, or this process has become the local server. failed is what a
// client with a wrong name or password reads.
func (d *dialogue) tryLogin(ctx context.Context, failed string, c *login.Credentials) error {
	d.errors = 0
	c.UTF8 = d.utf8
	outcome, err := d.s.Login(ctx, c, "")
	switch {
	case err != nil:
	case outcome.Mailhost == nil:
		err = d.local(outcome)
	default:
		err = d.s.Relay(ctx, outcome, string(outcome.Mailhost.Answer))
	}
	denied, _ := errors.AsType[*login.DeniedError](err)
	switch {
	case err == nil:
		return &exit{exitOK}
	case denied != nil && denied.Challenge != "":
		switch err := sasl.Explain(saslClient{d}, denied.Challenge); {
		case errors.Is(err, sasl.ErrAborted):
			return d.bad(textAborted)
		case err != nil:
			return err
		}
		return d.reply(denial(denied.Code, failed))
	case denied != nil:
		return d.reply(denial(denied.Code, failed))
	case errors.Is(err, login.ErrRefused):
		return d.reply("-ERR [AUTH] " + failed)
	case errors.Is(err, login.ErrTemporary):
		return d.reply(textTemporary)
	case errors.Is(err, frontend.ErrHome):
		return d.bye(exitFailed, textTemporary)
	default:
		return err
	}
}

// local becomes the local server, and returns only when that failed, or when a Carrier has the session.
func (d *dialogue) local(outcome *login.Outcome) error {
	utf8 := "UTF8=0"
	if d.utf8 {
		utf8 = "UTF8=1"
	}
	return d.s.ExecLocal(outcome, "", utf8)
}
