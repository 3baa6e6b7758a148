package pop3

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
)

// maxCommand is the longest command with its CRLF in bytes that every server takes (RFC 2449 section 4). A
// SASL response that would make AUTH longer goes on a line of its own (RFC 5034 section 4).
const maxCommand = 255

// sendable checks what the account database and the client gave us once more, here where it would become a
// command: USER and PASS have no quoting (RFC 1939 section 3), so an empty argument would be missing.
func (u *upstream) sendable(context.Context) error {
	u.Step = mailhost.StepUser
	switch {
	case u.m.Token != "": // goes in base64, and names nobody but in it
		return nil
	case sasl.Check(u.m.User, u.m.Password) != nil:
		return errors.New("user name or password cannot be sent: it is empty, too long or has control characters")
	case u.m.Password == "":
		return errors.New("an empty password cannot be sent")
	}
	return nil
}

// login sends the user's name and password in the way that the mailhost takes them.
func (u *upstream) login(context.Context) error {
	send, err := u.method()
	if err != nil {
		return err
	}
	r, err := send()
	if err != nil {
		return err
	}
	u.final = r.text
	if r.status != statusOK {
		answer := login.Answer{Code: r.code, Text: u.m.Shown(r.text), Challenge: u.challenge}
		return &login.RejectedError{Step: u.Step, Answer: answer}
	}
	return nil
}

// sendLogin says USER and PASS (RFC 1939 section 7) and returns the answer that decides. A mailhost that
// takes no USER may take AUTH PLAIN.
func (u *upstream) sendLogin() (response, error) {
	u.Step = mailhost.StepUser
	r, err := u.command("USER " + u.m.User)
	if err != nil {
		return response{}, err
	}
	if r.status != statusOK {
		return u.withoutUser(r)
	}
	u.Step = mailhost.StepPassword
	return u.command("PASS " + u.m.Password)
}

// sendPlain says AUTH PLAIN (RFC 4616), with the user's own name and password or with those of
// PROXY_MASTER_USER on its behalf, and returns the answer. The password goes along with the command only
// where the mailhost is known to have the mechanism. A server that takes no notice of it there asks for it.
func (u *upstream) sendPlain() (response, error) {
	u.Step = mailhost.StepLogin
	plain, err := sasl.PlainResponse(u.m.Authzid, u.m.User, u.m.Password)
	if err != nil {
		return response{}, err
	}
	encoded := base64.StdEncoding.EncodeToString(plain)
	clear(plain)
	command := "AUTH PLAIN"
	initial := hasMechanism(u.capabilities, "PLAIN") &&
		len(command)+1+len(encoded)+len(crlf) <= maxCommand
	if initial {
		command += " " + encoded
	}
	r, err := u.exchange(command, true)
	switch {
	case err != nil:
		return response{}, err
	case r.status == statusMore:
		return u.command(encoded)
	case initial:
		return r, nil
	case r.status == statusOK:
		return response{}, errors.New("login accepted before the password was sent")
	}
	return u.unseen(r, command)
}

// unseen judges the answer to a command before the password was sent: the mailhost cannot have refused the
// password, so only another reason counts as an answer.
func (u *upstream) unseen(r response, command string) (response, error) {
	if r.code != "" && r.code != "AUTH" {
		return r, nil
	}
	return response{}, fmt.Errorf("mailhost does not take %s: %w", command, u.accepted(r, nil))
}
