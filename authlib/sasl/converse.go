package sasl

import (
	"encoding/base64"
	"errors"
	"strings"

	"mailproxy/internal/line"
)

// MaxLine bounds a line of an exchange without its end, in bytes: the longest name and password as PLAIN in
// base64, and room to spare. See limit for the mechanisms that have another one.
const MaxLine = 12 * 1024

// ErrAborted says that the client has ended the exchange, by "*" or by a line that is too long or not base64
// (RFC 9051 section 6.2.2, RFC 5034 section 4). That is a command in error and no failed login: no password
// was looked at.
var ErrAborted = errors.New("SASL exchange aborted")

// Client is the connection with the client during an exchange, in its protocol's words.
type Client interface {
	// Challenge sends a challenge, which is in base64 already: "+ ", the text, a line break.
	Challenge(text string) error
	// ReadLine reads a line without its end, see line.Reader.
	ReadLine(limit int) ([]byte, error)
}

// Converse lets the client and a mechanism talk until the exchange is over. initial is what followed the
// mechanism in the client's command: "" is no initial response, "=" an empty one (RFC 4959, RFC 5034).
//
// What the mechanism has against the client's words is in Credentials.Err. The error is ErrUnknownMechanism,
// ErrAborted, or one of the connection.
func Converse(c Client, mechanism, initial string, o Options) (*Credentials, error) {
	mechanism = strings.ToUpper(mechanism)
	x, err := newExchange(mechanism, o)
	if err != nil {
		return nil, err
	}
	response, err := decodeInitial(initial)
	for err == nil {
		challenge, done, failed := x.Next(response)
		clear(response) // a mechanism keeps no part of it
		if failed != nil {
			return &Credentials{Mechanism: mechanism, User: x.Credentials().User, Err: failed}, nil
		}
		if done {
			credentials := x.Credentials()
			return &credentials, nil
		}
		if err = c.Challenge(base64.StdEncoding.EncodeToString(challenge)); err == nil {
			response, err = readResponse(c, limit(mechanism))
		}
	}
	return nil, err
}

func readResponse(c Client, limit int) ([]byte, error) {
	text, err := c.ReadLine(limit)
	if errors.Is(err, line.ErrTooLong) {
		return nil, ErrAborted
	}
	if err != nil {
		return nil, err
	}
	response, err := decode(string(text))
	clear(text)
	return response, err
}

func decodeInitial(text string) ([]byte, error) {
	switch text {
	case "":
		return nil, nil
	case "=":
		return []byte{}, nil
	}
	return decode(text)
}

// decode decodes a response, which is not nil then. "*", by which the client cancels, is not base64 either.
func decode(text string) ([]byte, error) {
	if strings.Contains(text, "\r") { // the decoder skips it, and it can be no part of a response
		return nil, ErrAborted
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(out, []byte(text))
	if err != nil {
		clear(out)
		return nil, ErrAborted
	}
	return out[:n], nil
}
