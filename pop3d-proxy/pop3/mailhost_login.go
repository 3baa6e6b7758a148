package pop3

import (
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
// command: USER and PASS have no quoting (RFC 1939 section 3), and an empty argument is none.
func sendable(m *mailhost.Conn) error {
	if m.Token != "" { // goes in base64, and names nobody but in it
		return nil
	}
	if err := sasl.Check(m.User, m.Password); err != nil {
		return errors.New("user name or password cannot be sent: it is empty, too long or has control characters")
	}
	if m.Password == "" {
		return errors.New("an empty password cannot be sent")
	}
	return nil
}

// login sends the user's name and password in the way that the mailhost takes them.
func (u *upstream) login() error {
	if u.m.Token != "" {
		return u.showToken()
	}
	if u.m.Authzid != "" {
		return u.authMaster()
	}
	if err := u.command(mailhost.StepUser, "USER "+u.m.User); err != nil {
		return u.withoutUser(err)
	}
	return rejected(mailhost.StepPassword, u.command(mailhost.StepPassword, "PASS "+u.m.Password))
}

// authMaster logs in as the master user on behalf of the account. The password is sent along with the command
// only where the mailhost is known to have the mechanism.
func (u *upstream) authMaster() error {
	list, err := u.capabilities(mailhost.StepLogin)
	if err != nil {
		return err
	}
	return u.authPlain(takesPlain(list))
}

// authPlain logs in by SASL PLAIN (RFC 4616), with an authorization identity for the master user. initial
// sends the response along with the command.
func (u *upstream) authPlain(initial bool) error {
	message, err := sasl.PlainResponse(u.m.Authzid, u.m.User, u.m.Password)
	if err != nil {
		return &mailhost.StepError{Step: mailhost.StepLogin, Err: err}
	}
	response := base64.StdEncoding.EncodeToString(message)
	clear(message)
	command := "AUTH PLAIN " + response
	if !initial || len(command)+2 > maxCommand {
		command = "AUTH PLAIN"
	}
	if err := u.plainDialogue(command, response); err != nil {
		return rejected(mailhost.StepLogin, &mailhost.StepError{Step: mailhost.StepLogin, Err: err})
	}
	return nil
}

// plainDialogue sends the command and, when it is asked for, the response: once, as a server that took no
// notice of an initial response asks for it.
func (u *upstream) plainDialogue(command, response string) error {
	if err := u.send(command); err != nil {
		return err
	}
	text, err := u.line()
	if err != nil {
		return err
	}
	if s, _ := parseResponse(text); s == statusMore {
		if err := u.send(response); err != nil {
			return err
		}
		return u.response()
	}
	err = u.parse(text)
	if command != "AUTH PLAIN" {
		return err
	}
	r, refused := errors.AsType[*refusal](err)
	switch {
	case err == nil:
		return errors.New("login accepted before the password was sent")
	case refused && (r.code == "" || r.code == "AUTH"):
		// It has not seen the password and cannot have refused it.
		return fmt.Errorf("mailhost does not take AUTH PLAIN: %s", r)
	}
	return err
}

// rejected turns a mailhost's -ERR to a login command into what the table in package login judges, and leaves
// the rest as it is.
func rejected(step mailhost.Step, err error) error {
	if r, ok := errors.AsType[*refusal](err); ok {
		return &login.RejectedError{Step: step, Answer: login.Answer{Code: r.code, Text: r.text}}
	}
	return err
}
