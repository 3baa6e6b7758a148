package pop3

import (
	"context"
	"errors"
	"strings"

	"mailproxy/authlib/sasl"
)

// authenticate is AUTH, RFC 5034. Without an argument it lists the mechanisms, as RFC 1734's clients still
// ask.
func (d *dialogue) authenticate(ctx context.Context, arg string) error {
	if d.s.NeedsTLS() {
		return d.ok(textNeedTLS)
	}
	words := strings.Fields(arg)
	if len(words) == 0 {
		return d.listMechanisms()
	}
	if len(words) > 2 {
		return d.bad(textAborted) // a response with blanks in it is not base64
	}
	mechanism, initial := words[0], strings.Join(words[1:], "")
	credentials, err := d.s.Exchange(ctx, saslClient{d}, mechanism, initial, d.listed())
	switch {
	case errors.Is(err, sasl.ErrUnknownMechanism):
		return d.bad(textMechanism)
	case errors.Is(err, sasl.ErrAborted):
		return d.bad(textAborted)
	case err != nil:
		return err
	}
	return d.tryLogin(ctx, textAuthFailed, credentials)
}

func (d *dialogue) listMechanisms() error {
	list := "+OK"
	for _, name := range d.mechanisms() {
		list += "\r\n" + name
	}
	return d.ok(list + "\r\n.")
}

// saslClient is the client in a SASL exchange.
type saslClient struct{ *dialogue }

func (d saslClient) Challenge(text string) error { return d.reply("+ " + text) }

func (d saslClient) ReadLine(limit int) ([]byte, error) { return d.in.ReadLine(limit) }
