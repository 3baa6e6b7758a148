package pop3

import (
	"context"
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
		return sasl.ErrAborted // a response with blanks in it is not base64
	}
	mechanism, initial := words[0], strings.Join(words[1:], "")
	credentials, err := d.s.Exchange(ctx, mechanism, initial, d.listed())
	if err != nil {
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
