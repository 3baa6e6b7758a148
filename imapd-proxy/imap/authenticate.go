package imap

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"strings"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/line"
	"mailproxy/internal/login"
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
	mechanism = strings.ToUpper(mechanism)
	credentials, err := d.exchange(mechanism, initial)
	switch {
	case errors.Is(err, sasl.ErrUnknownMechanism):
		return errMechanism
	case errors.Is(err, sasl.ErrMalformed):
		// A failed login like any other: counted, logged and delayed, so that guessing is no cheaper this
		// way.
		long := errors.Is(err, sasl.ErrTooLong)
		return d.tryLogin(ctx, tag, &login.Credentials{Mechanism: mechanism, SASL: true, TooLong: long})
	case err != nil:
		return err
	}
	return d.tryLogin(ctx, tag, &login.Credentials{
		Mechanism: credentials.Mechanism, SASL: true, Type: credentials.Type,
		User: credentials.User, Password: credentials.Password,
		Challenge: credentials.Challenge, Response: credentials.Response, External: credentials.External,
	})
}

// exchange lets the client and the mechanism talk.
func (d *dialogue) exchange(mechanism, initial string) (sasl.Credentials, error) {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost" // it only stands in challenges
	}
	x, err := sasl.New(mechanism, sasl.Options{Hostname: hostname, External: d.s.ExternalName()})
	if err != nil {
		return sasl.Credentials{}, err
	}
	response, err := initialResponse(mechanism, initial)
	for {
		if err != nil {
			return sasl.Credentials{}, err
		}
		challenge, done, xerr := x.Next(response)
		clear(response)
		if xerr != nil || done {
			return x.Credentials(), xerr
		}
		if err := d.send("+ " + base64.StdEncoding.EncodeToString(challenge) + crlf); err != nil {
			return sasl.Credentials{}, err
		}
		response, err = d.response()
	}
}

// initialResponse decodes what stands behind the mechanism: nothing is no response (nil), "=" is an empty
// one.
func initialResponse(mechanism, text string) ([]byte, error) {
	switch {
	case text == "":
		return nil, nil
	case text == "=" && mechanism == "EXTERNAL":
		return nil, nil // Courier prompts once more, and an empty line completes it
	case text == "=":
		return []byte{}, nil
	}
	return decode([]byte(text))
}

// response reads one line of the exchange.
func (d *dialogue) response() ([]byte, error) {
	text, err := d.in.ReadLine(maxLine)
	if errors.Is(err, line.ErrTooLong) {
		return nil, errSyntax
	}
	if err != nil {
		return nil, err
	}
	return decode(text)
}

// decode returns errSyntax for everything that is not base64, and for "*", by which the client cancels (RFC
// 9051 section 6.2.2: a tagged BAD).
func decode(text []byte) ([]byte, error) {
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(out, text)
	if err != nil {
		clear(out)
		return nil, errSyntax
	}
	return out[:n], nil
}
