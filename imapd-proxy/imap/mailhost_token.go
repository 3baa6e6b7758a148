package imap

import (
	"encoding/base64"
	"errors"
	"strings"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
)

// maxCommand is the longest command line in bytes that every server takes (RFC 2683 section 3.2.1.5). A
// response that would make AUTHENTICATE longer goes on a line of its own.
const maxCommand = 8000

// tokenMethod decides whether the client's token can be shown to the mailhost. It is not where the mailhost
// does not have its mechanism: the error says which setting promises it.
func (u *upstream) tokenMethod() (func() (response, error), error) {
	if hasCapability(u.capabilities, auth+u.m.Mechanism) {
		return u.sendToken, nil
	}
	why := "IMAP_CAPABILITY or IMAP_CAPABILITY_TLS promises AUTH=" + u.m.Mechanism + ", which is not in its list"
	if !u.m.TLS && hasCapability(u.capabilities, "STARTTLS") {
		why += " before STARTTLS (PROXY_TLS=STARTTLS encrypts the connection)"
	}
	err := &login.NotOfferedError{Mechanism: u.m.Mechanism, Why: why}
	return nil, &mailhost.StepError{Step: mailhost.StepLogin, Err: err}
}

// sendToken says AUTHENTICATE with the client's message and returns the tagged answer. A challenge means that
// the token is refused (RFC 7628 section 3.2.3); the client is shown it.
func (u *upstream) sendToken() (response, error) {
	encoded := base64.StdEncoding.EncodeToString([]byte(u.m.Token))
	command := u.m.Tag + " AUTHENTICATE " + u.m.Mechanism
	if hasCapability(u.capabilities, "SASL-IR") && len(command)+1+len(encoded) <= maxCommand {
		command += " " + encoded
	} else {
		r, err := u.exchange(command, true)
		switch {
		case err != nil:
			return response{}, err
		case r.status == "OK" && r.tag == u.m.Tag:
			return response{}, errors.New("login accepted before the token was sent")
		case r.tag != "+":
			return r, nil
		}
		command = encoded
	}
	r, err := u.exchange(command, true)
	if err != nil || r.tag != "+" {
		return r, err
	}
	if text := strings.TrimPrefix(strings.TrimPrefix(r.text, "+"), " "); sasl.IsChallenge(text) {
		u.challenge = text
	}
	r, err = u.exchange(sasl.Dummy(u.m.Mechanism), false)
	if err == nil && r.status == "OK" {
		return response{}, errors.New("token accepted after it was refused")
	}
	return r, err
}
