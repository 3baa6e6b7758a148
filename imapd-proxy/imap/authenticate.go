package imap

import (
	"context"
	"errors"
	"strings"

	"mailproxy/authlib/sasl"
)

// errMechanism: there is no such mechanism. Like a cancelled exchange or bad base64 (errSyntax) that is a
// command in error, answered at once: nobody's password was wrong.
var errMechanism = errors.New("no such SASL mechanism")

// authenticate is RFC 3501 section 6.2.2, with the initial response of RFC 4959.
func (d *dialogue) authenticate(ctx context.Context, tag string) error {
	if d.s.NeedsTLS() {
		return d.refuseWithoutTLS(tag)
	}
	mechanism, initial := d.cmd.word(), d.cmd.word()
	if mechanism == "" {
		return errSyntax
	}
	if err := d.cmd.end(); err != nil {
		return err
	}
	if initial == "=" && strings.EqualFold(mechanism, "EXTERNAL") {
		initial = "" // Courier prompts once more, and an empty line completes it
	}
	credentials, err := d.s.Exchange(ctx, saslClient{d}, mechanism, initial, d.listed())
	switch {
	case errors.Is(err, sasl.ErrUnknownMechanism):
		return errMechanism
	case errors.Is(err, sasl.ErrAborted):
		return errSyntax
	case err != nil:
		return err
	}
	return d.tryLogin(ctx, tag, credentials)
}

// explain shows the client why its token is refused, if a mailhost has said so in a challenge.
func (d *dialogue) explain(challenge string) error {
	if challenge == "" {
		return nil
	}
	err := sasl.Explain(saslClient{d}, challenge)
	if errors.Is(err, sasl.ErrAborted) {
		return errSyntax
	}
	return err
}

// saslClient is the client in a SASL exchange.
type saslClient struct{ *dialogue }

func (d saslClient) Challenge(text string) error { return d.send("+ " + text + crlf) }

func (d saslClient) ReadLine(limit int) ([]byte, error) { return d.in.ReadLine(limit) }
