package pop3

import (
	"encoding/base64"
	"errors"
	"strings"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
)

// tokenMethod decides whether the client's token can be shown to the mailhost. It is not where the mailhost
// does not have its mechanism: the error says which setting promises it.
func (u *upstream) tokenMethod() (func() (response, error), error) {
	if hasMechanism(u.capabilities, u.m.Mechanism) {
		return u.sendToken, nil
	}
	why := "POP3AUTH or POP3AUTH_TLS promises " + u.m.Mechanism + ", which is not in its SASL list"
	if !u.m.TLS && hasCapability(u.capabilities, "STLS") {
		why += " before STLS (PROXY_TLS=STARTTLS encrypts the connection)"
	}
	err := &login.NotOfferedError{Mechanism: u.m.Mechanism, Why: why}
	return nil, &mailhost.StepError{Step: mailhost.StepLogin, Err: err}
}

// sendToken says AUTH with the client's message and returns the answer. A challenge means that the token is
// refused (RFC 7628 section 3.2.3); the client is shown it.
func (u *upstream) sendToken() (response, error) {
	encoded := base64.StdEncoding.EncodeToString([]byte(u.m.Token))
	command := "AUTH " + u.m.Mechanism
	if len(command)+1+len(encoded)+len(crlf) <= maxCommand {
		command += " " + encoded
	} else {
		r, err := u.exchange(command, true)
		switch {
		case err != nil:
			return response{}, err
		case r.status == statusOK:
			return response{}, errors.New("login accepted before the token was sent")
		case r.status != statusMore:
			return r, nil
		}
		command = encoded
	}
	r, err := u.exchange(command, true)
	if err != nil || r.status != statusMore {
		return r, err
	}
	if text := strings.TrimLeft(r.text[len("+"):], " "); sasl.IsChallenge(text) {
		u.challenge = text
	}
	r, err = u.command(sasl.Dummy(u.m.Mechanism))
	if err == nil && r.status == statusOK {
		return response{}, errors.New("token accepted after it was refused")
	}
	return r, err
}
