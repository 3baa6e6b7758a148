package pop3

import (
	"encoding/base64"
	"errors"
	"fmt"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/frontend"
)

// maxCommand is the longest command with its CRLF in bytes that every server takes (RFC 2449 section 4). A SASL response
// that would make AUTH longer goes on a line of its own (RFC 5034 section 4).
const maxCommand = 255

// authPlain logs in as the master user on behalf of the account: SASL PLAIN with an authorization identity (RFC 4616).
func (h *mailhost) authPlain() error {
	message, err := sasl.PlainResponse(h.m.Authzid, h.m.User, h.m.Password)
	if err != nil {
		return &frontend.StepError{Step: frontend.StepLogin, Err: err}
	}
	response := base64.StdEncoding.EncodeToString(message)
	command := "AUTH PLAIN " + response
	if len(command)+2 > maxCommand {
		command = "AUTH PLAIN"
	}
	if err := h.plainDialogue(command, response); err != nil {
		return rejected(frontend.StepLogin, &frontend.StepError{Step: frontend.StepLogin, Err: err})
	}
	return nil
}

// plainDialogue sends the command and, when it is asked for, the response: once, as a server that took no notice of an
// initial response asks for it.
func (h *mailhost) plainDialogue(command, response string) error {
	if err := h.send(command); err != nil {
		return err
	}
	text, err := h.in.ReadLine(maxResponse)
	if err != nil {
		return fmt.Errorf("read the response: %w", err)
	}
	if string(text) == "+" || string(text) == "+ " {
		if err := h.send(response); err != nil {
			return err
		}
		return h.response()
	}
	if err := h.parse(text); err != nil {
		return err
	}
	if command == "AUTH PLAIN" {
		return errors.New("login accepted before the password was sent")
	}
	return nil
}
