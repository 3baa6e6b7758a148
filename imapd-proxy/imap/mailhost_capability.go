package imap

import (
	"context"
	"errors"

	"mailproxy/internal/mailhost"
)

// askCapability asks a mailhost for its capabilities when it has not told them along with its greeting or the
// handshake has made that void: how it takes a password is known before one is sent. A mailhost that does not
// understand the question is old and takes LOGIN.
func (u *upstream) askCapability(context.Context) error {
	if u.capabilities != "" {
		return nil
	}
	u.Step = mailhost.StepFollow
	r, err := u.command("C0", "CAPABILITY")
	if err == nil && r.status == "OK" {
		u.capabilities = u.learned
	}
	return err
}

// method decides by which command the user's name and password go. Where the mailhost takes neither on this
// connection the error says why, and which setting helps.
func (u *upstream) method() (send func() (response, error), err error) {
	list := u.capabilities
	switch {
	case u.m.Token != "":
		return u.tokenMethod()
	case u.m.Authzid != "":
		return u.sendPlain, nil
	case !hasCapability(list, "LOGINDISABLED"):
		return u.sendLogin, nil
	case !u.m.TLS && hasCapability(list, "STARTTLS"): // whatever AUTH= says
		return nil, errors.New("mailhost takes no password before STARTTLS (LOGINDISABLED): " +
			"PROXY_TLS=STARTTLS encrypts the connection")
	case hasCapability(list, "AUTH=PLAIN"):
		return u.sendPlain, nil
	case !u.m.TLS:
		return nil, errors.New("mailhost takes neither LOGIN (LOGINDISABLED) nor AUTH=PLAIN on this connection, " +
			"which PROXY_TLS does not encrypt")
	}
	return nil, errors.New("mailhost takes neither LOGIN (LOGINDISABLED) nor AUTH=PLAIN")
}
