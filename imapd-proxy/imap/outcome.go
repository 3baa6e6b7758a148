package imap

import (
	"context"
	"errors"

	"mailproxy/internal/frontend"
	"mailproxy/internal/login"
)

// tryLogin takes credentials to package login and tells the client what came of them. After a success the
// session is over for us: a Carrier has it, or this process has become the local server.
// Credentials without a Type (and not External) cannot be anybody's and are refused without asking.
func (d *dialogue) tryLogin(ctx context.Context, tag string, c *login.Credentials) error {
	c.Offered, c.ID = d.capabilities(), d.clientID
	outcome, err := d.s.Login(ctx, c, tag)
	switch {
	case err != nil:
	case outcome.Mailhost == nil:
		// Courier's imapd sends the tagged OK by itself (IMAPLOGINTAG).
		err = d.s.ExecLocal(outcome, tag)
	default:
		err = d.s.Relay(ctx, outcome, string(outcome.Mailhost.Answer))
	}
	d.maxErrors = maxErrorsAfterLogin
	denied, _ := errors.AsType[*login.DeniedError](err)
	switch {
	case err == nil:
		return &exit{exitOK}
	case denied != nil:
		if err := d.explain(denied.Challenge); err != nil {
			return err
		}
		return d.send(alert(denied.Alert) + tag + " " + denial(denied.Code) + crlf)
	case errors.Is(err, login.ErrRefused):
		return d.send(tag + " " + textRefused + crlf)
	case errors.Is(err, login.ErrTemporary):
		return d.send(tag + " " + textBusy + crlf)
	case errors.Is(err, frontend.ErrHome):
		return d.bye(textTemporary)
	default:
		return err
	}
}

// alert is a message of the mailhost's that the client must show its user (RFC 3501 section 7.1); "" without
// one.
func alert(text string) string {
	if text == "" {
		return ""
	}
	return "* NO [ALERT] " + text + crlf
}
