package sasl

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"mailproxy/authlib/scram"
	"mailproxy/internal/line"
)

// MaxBearerLine is MaxLine for the mechanisms with tokens, which are as long as their issuer likes.
const MaxBearerLine = 64 * 1024

// The mechanisms with tokens (OAuth 2.0): RFC 7628, and what Google and Microsoft had before it.
const (
	oauthBearer = "OAUTHBEARER"
	xoauth2     = "XOAUTH2"
)

// ErrNoName says that the client's message has a token and no name, by which its mailhost could be found. No
// token was looked at.
var ErrNoName = errors.New("the client has sent a token without a user name")

// HasToken says whether a mechanism is one in which the client shows a token. The name may be in any case.
func HasToken(mechanism string) bool {
	return strings.EqualFold(mechanism, oauthBearer) || strings.EqualFold(mechanism, xoauth2)
}

// limit is the longest line of an exchange without its end, in bytes.
func limit(mechanism string) int {
	if HasToken(mechanism) {
		return MaxBearerLine
	}
	return MaxLine
}

// bearer takes one message. Only the name is read from it: the token is for the mailhost, which gets the
// message as it is.
type bearer struct {
	learned
	name string // the mechanism, in upper case
}

func newBearer(name string, o Options) (exchange, error) {
	if !o.Tokens || !slices.Contains(o.Listed, name) {
		return nil, ErrUnknownMechanism
	}
	return &bearer{name: name}, nil
}

// Next is part of exchange.
func (b *bearer) Next(response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	message := string(response)
	name := gs2Name
	if b.name == xoauth2 {
		name = xoauth2Name
	}
	user, err := name(message)
	if err != nil {
		return nil, false, err
	}
	if err := Check(user, ""); err != nil {
		return nil, false, err
	}
	b.cred = Credentials{Mechanism: b.name, User: user, Token: message}
	return nil, true, nil
}

// fields separates and ends the fields of a message.
const fields = "\x01"

// gs2Name returns the name in a message of OAUTHBEARER (RFC 7628 section 3.1): the authorization identity of
// its header (RFC 5801 section 4), "n,a=NAME,", after which the fields begin.
func gs2Name(message string) (string, error) {
	header, _, ok := strings.Cut(message, fields)
	part := strings.Split(header, ",")
	if !ok || len(part) != 3 || part[2] != "" {
		return "", ErrMalformed
	}
	if part[0] != "n" && part[0] != "y" { // "p=": no mechanism here binds a token to the channel
		return "", ErrMalformed
	}
	if part[1] == "" {
		return "", ErrNoName
	}
	encoded, ok := strings.CutPrefix(part[1], "a=")
	if !ok {
		return "", ErrMalformed
	}
	name, ok := scram.DecodeName(encoded)
	switch {
	case !ok:
		return "", ErrMalformed
	case name == "":
		return "", ErrNoName
	}
	return name, nil
}

// xoauth2Name returns the name in a message of XOAUTH2: "user=NAME" and the separator, after which the other
// fields begin.
func xoauth2Name(message string) (string, error) {
	first, _, ok := strings.Cut(message, fields)
	user, found := strings.CutPrefix(first, "user=")
	switch {
	case !ok:
		return "", ErrMalformed
	case !found || user == "":
		return "", ErrNoName
	}
	return user, nil
}

// Dummy is what a client answers in base64 to the challenge that says why its token is refused (RFC 7628
// section 3.2.3); XOAUTH2 has an empty line there.
func Dummy(mechanism string) string {
	if mechanism == xoauth2 {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(fields))
}

// IsChallenge says whether a mailhost's words are a challenge that can be passed on: base64, and something.
func IsChallenge(text string) bool {
	response, err := decode(text)
	return err == nil && len(response) > 0
}

// Explain tells a client why its token is refused, by a mailhost's challenge as it is, and waits for the
// answer, which means nothing. The error is ErrAborted or one of the connection.
func Explain(c Client, challenge string) error {
	if err := c.Challenge(challenge); err != nil {
		return err
	}
	answer, err := c.ReadLine(MaxLine)
	switch {
	case errors.Is(err, line.ErrTooLong), err == nil && string(answer) == "*":
		return ErrAborted
	}
	return err
}
