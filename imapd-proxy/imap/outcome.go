package imap

import (
	"context"
	"errors"

	"mailproxy/internal/frontend"
	"mailproxy/internal/login"
)

// tryLogin takes credentials to the front end and tells the client why they do not let it in.
func (d *dialogue) tryLogin(ctx context.Context, tag string, c *login.Credentials) error {
	c.Tag, c.Offered, c.ID = tag, d.capabilities(), d.clientID
	// Courier's imapd sends the tagged OK by itself.
	err := d.s.Login(ctx, c, map[string]string{"IMAPLOGINTAG": tag, "PROTOCOL": "IMAP"})
	d.maxErrors = maxErrorsAfterLogin
	denied, _ := errors.AsType[*login.DeniedError](err)
	switch {
	case denied != nil:
		return d.s.Reply(alert(denied.Alert) + tag + " " + denial(denied.Code))
	case errors.Is(err, frontend.ErrEndSession):
		return d.bye(textTemporary)
	}
	return err
}

// alert is a message of the mailhost's that the client must show its user (RFC 3501 section 7.1); "" without
// one.
func alert(text string) string {
	if text == "" {
		return ""
	}
	return "* NO [ALERT] " + text + crlf
}
