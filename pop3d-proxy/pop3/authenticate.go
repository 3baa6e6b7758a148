package pop3

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

const replyAborted = "-ERR Authentication aborted."

// errAborted says that the client ended a SASL exchange with "*" or with something that is not base64.
var errAborted = errors.New("SASL exchange aborted")

// auth is AUTH, RFC 5034. Without an argument it lists the mechanisms, as RFC 1734's clients still ask.
func (d *dialogue) auth(ctx context.Context, arg string) error {
	const failed = "Authentication failed."
	if d.s.NeedsTLS() {
		return d.ok(replyTLSRequired)
	}
	words := strings.Fields(arg)
	switch len(words) {
	case 0:
		return d.authList()
	case 1, 2:
	default:
		return d.bad(replyAborted) // a response with blanks in it is not base64
	}
	mechanism := words[0]
	credentials, err := d.exchange(mechanism, words[1:])
	switch {
	case errors.Is(err, errAborted):
		return d.bad(replyAborted)
	case errors.Is(err, sasl.ErrUnknownMechanism):
		return d.bad("-ERR " + failed) // without a code: nobody's password was wrong
	case errors.Is(err, sasl.ErrMalformed):
		// No account can match: package login refuses and logs it like a wrong password, and as slowly.
		credentials = sasl.Credentials{Mechanism: strings.ToUpper(mechanism)}
	case err != nil:
		return err
	}
	return d.login(ctx, failed, &login.Credentials{
		Mechanism: credentials.Mechanism,
		SASL:      true,
		TooLong:   errors.Is(err, sasl.ErrTooLong),
		Type:      credentials.Type,
		User:      credentials.User,
		Password:  credentials.Password,
		Challenge: credentials.Challenge,
		Response:  credentials.Response,
		External:  credentials.External,
		UTF8:      d.utf8,
	})
}

func (d *dialogue) authList() error {
	list := "+OK"
	for _, name := range strings.Fields(d.mechanisms()) {
		list += "\r\n" + name
	}
	return d.ok(list + "\r\n.")
}

// exchange goes through one SASL exchange; initial holds the initial response, if there is one. Errors are
// errAborted, those of package sasl, and those of the connection.
func (d *dialogue) exchange(mechanism string, initial []string) (sasl.Credentials, error) {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	exchange, err := sasl.New(mechanism, sasl.Options{Hostname: hostname, External: d.s.ExternalName()})
	if err != nil {
		return sasl.Credentials{}, err
	}
	var response []byte
	if len(initial) > 0 {
		if response, err = decodeInitial(initial[0]); err != nil {
			return sasl.Credentials{}, err
		}
	}
	for {
		challenge, done, err := exchange.Next(response)
		clear(response)
		if err != nil {
			return sasl.Credentials{}, err
		}
		if done {
			return exchange.Credentials(), nil
		}
		if err := d.reply("+ " + base64.StdEncoding.EncodeToString(challenge)); err != nil {
			return sasl.Credentials{}, err
		}
		if response, err = d.response(); err != nil {
			return sasl.Credentials{}, err
		}
	}
}

// response reads the client's answer to a challenge. It is never nil.
func (d *dialogue) response() ([]byte, error) {
	text, err := d.in.ReadLine(maxLine)
	if errors.Is(err, line.ErrTooLong) {
		return nil, errAborted
	}
	if err != nil {
		return nil, err
	}
	return decode(string(text))
}

// decodeInitial decodes an initial response; "=" stands for an empty one (RFC 5034 section 4).
func decodeInitial(text string) ([]byte, error) {
	if text == "=" {
		return []byte{}, nil
	}
	return decode(text)
}

// decode decodes base64; errAborted for "*" and for anything that is not base64. The result is not nil.
func decode(text string) ([]byte, error) {
	decoded := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	// The decoder skips CR, which can be no part of a response.
	if strings.Contains(text, "\r") {
		return nil, errAborted
	}
	n, err := base64.StdEncoding.Decode(decoded, []byte(text))
	if err != nil {
		clear(decoded)
		return nil, errAborted
	}
	return decoded[:n], nil
}
