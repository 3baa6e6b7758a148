package pop3

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
)

// showToken logs in with the client's token, where the mailhost has its mechanism: the error says which
// setting promises it.
func (u *upstream) showToken() error {
	list, err := u.capabilities(mailhost.StepLogin)
	if err != nil {
		return err
	}
	if !takes(list, u.m.Mechanism) {
		why := "POP3AUTH or POP3AUTH_TLS promises " + u.m.Mechanism + ", which is not in its SASL list"
		if !u.m.TLS && has(list, "STLS") {
			why += " before STLS (PROXY_TLS=STARTTLS encrypts the connection)"
		}
		err = &login.NotOfferedError{Mechanism: u.m.Mechanism, Why: why}
		return &mailhost.StepError{Step: mailhost.StepLogin, Err: err}
	}
	challenge, err := u.tokenDialogue()
	if err == nil {
		return nil
	}
	err = rejected(mailhost.StepLogin, &mailhost.StepError{Step: mailhost.StepLogin, Err: err})
	if r, ok := errors.AsType[*login.RejectedError](err); ok {
		r.Answer.Challenge = challenge
	}
	return err
}

// tokenDialogue says AUTH with the client's message. A challenge behind it means that the token is refused
// (RFC 7628 section 3.2.3); the client is shown it.
func (u *upstream) tokenDialogue() (challenge string, err error) {
	encoded := base64.StdEncoding.EncodeToString([]byte(u.m.Token))
	command := "AUTH " + u.m.Mechanism
	if len(command)+1+len(encoded)+len(crlf) <= maxCommand {
		command += " " + encoded
	} else {
		text, err := u.ask(command)
		if err != nil {
			return "", err
		}
		if s, _ := parseResponse(text); s != statusMore {
			if err := u.parse(text); err != nil {
				return "", err
			}
			return "", errors.New("login accepted before the token was sent")
		}
		command = encoded
	}
	text, err := u.ask(command)
	if err != nil {
		return "", err
	}
	if s, _ := parseResponse(text); s != statusMore {
		return "", u.parse(text)
	}
	if words := strings.TrimLeft(text[len("+"):], " "); sasl.IsChallenge(words) {
		challenge = words
	}
	if err = u.send(sasl.Dummy(u.m.Mechanism)); err == nil {
		err = u.response()
	}
	if err == nil {
		err = errors.New("token accepted after it was refused")
	}
	return challenge, err
}

// ask sends a line and reads one.
func (u *upstream) ask(text string) (string, error) {
	if err := u.send(text); err != nil {
		return "", err
	}
	return u.line()
}

// takes says whether a list of capabilities has a SASL mechanism.
func takes(list []string, mechanism string) bool {
	return slices.ContainsFunc(list, func(entry string) bool {
		words := strings.Fields(entry)
		return len(words) > 0 && words[0] == "SASL" && slices.Contains(words[1:], mechanism)
	})
}
