// Package sasl holds the server side of the SASL mechanisms (RFC 4422) that mail clients log in with: PLAIN
// (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195) and its SHA-1 and SHA-256 siblings, SCRAM (RFC 5802), OAUTHBEARER
// (RFC 7628) and XOAUTH2, EXTERNAL; and the client's side of PLAIN.
//
// An exchange is pure: decoded bytes in, decoded bytes out, no connection and no clock. [Converse] is the
// loop around it that IMAP and POP3 share: base64, and the "*" that cancels. Nothing is authenticated here: a
// completed exchange yields [Credentials], which the auth module judges.
//
// github.com/emersion/go-sasl is not used: its servers are PLAIN, EXTERNAL, ANONYMOUS and OAUTHBEARER without
// checks for control characters. LOGIN, CRAM, SCRAM, XOAUTH2 and these checks are most of what is here. The
// tests let its clients talk to these servers.
package sasl

import (
	"errors"
	"fmt"
	"strings"

	"mailproxy/authlib"
	"mailproxy/internal/text"
)

// The longest user name and password, in bytes, that [Check] lets pass. Together with the service name they
// fit into the 8191 bytes that Courier's authdaemond reads, base64 of CRAM included.
const (
	MaxUser     = 1024
	MaxPassword = 4096
)

var (
	// ErrUnknownMechanism is New's answer to a mechanism that it does not have or that opts do not allow.
	ErrUnknownMechanism = errors.New("unknown SASL mechanism")
	// ErrMalformed says that a response is not what the mechanism asks for, or holds a name or a password that
	// no account can have. For the client that is a failed login.
	ErrMalformed = errors.New("malformed SASL response")
	// ErrTooLong is the ErrMalformed of a name or password longer than MaxUser and MaxPassword.
	ErrTooLong = fmt.Errorf("%w: name or password too long", ErrMalformed)
)

// Options are the facts that some mechanisms need.
type Options struct {
	// Hostname stands in CRAM challenges.
	Hostname string
	// External is the user that the connection itself has authenticated (a client certificate); empty = EXTERNAL
	// is an unknown mechanism.
	External string
	// Listed are the mechanisms that the settings name, in upper case. Those that not every account can use
	// (SCRAM, OAUTHBEARER, XOAUTH2) are unknown unless they are among them.
	Listed []string
	// Bindings are the channel bindings of the client's TLS connection; none = nothing is known of it.
	Bindings []Binding
	// Tokens says that a client may show one here: over TLS, and for an account that can be elsewhere. Without
	// it OAUTHBEARER and XOAUTH2 are unknown.
	Tokens bool
	// SCRAM is for the mechanisms of that name; nil = they are unknown.
	SCRAM *SCRAM
}

// Credentials are what a completed exchange learned from the client. No control character is in any of it but
// Token.
type Credentials struct {
	// Mechanism is the mechanism's name in upper case.
	Mechanism string
	// Type says what the auth module is to be asked; it is empty for EXTERNAL and where there is a Token, and
	// only the account is looked up.
	Type authlib.AuthType
	// User is never empty. With CRAM it is the name inside Response.
	User string
	// Password is PLAIN's and LOGIN's.
	Password string
	// Challenge (as sent) and Response ("user SPACE hex-digest") are CRAM's, both without base64.
	Challenge, Response []byte
	// External is true when the connection, not the client's words, proves who it is.
	External bool
	// Token is the whole message of OAUTHBEARER or XOAUTH2, as the client has sent it, control characters
	// included. Nothing in it but User has been looked at: only a mailhost can tell whether it proves anything.
	Token string
	// Account is whose proof the mechanism itself has verified (SCRAM); the auth module need not be asked.
	Account *authlib.Account
	// Err is why nobody need be asked: the login fails for the reason that the mechanism gives, an
	// ErrMalformed, ErrNoName, ErrBinding, ErrNoKeys or an error of the auth module. Then all but Mechanism
	// and User is empty, and whether there is such a user is not said. Only Converse sets it.
	Err error
}

// exchange is one attempt to log in. It is used once.
type exchange interface {
	// Next takes the client's response and returns the next challenge, or done, or the reason why the attempt
	// has failed, after which the exchange must not be used. The first response is nil when the client sent none
	// along with its command (no initial response); an empty initial response is an empty slice. An empty
	// challenge is to be sent.
	Next(response []byte) (challenge []byte, done bool, err error)
	// Credentials returns what was learned, once Next has said done.
	Credentials() Credentials
}

// learned is the part of an exchange that knows the credentials when it is over.
type learned struct{ cred Credentials }

// Credentials is part of exchange.
func (l *learned) Credentials() Credentials { return l.cred }

// newExchange begins an exchange; the mechanism's name may be in any case.
func newExchange(mechanism string, opts Options) (exchange, error) {
	begin := mechanisms()[strings.ToUpper(mechanism)]
	if begin == nil {
		return nil, ErrUnknownMechanism
	}
	return begin(strings.ToUpper(mechanism), opts)
}

// mechanisms is the table of what there is: a mechanism is a file of this package and a line here.
func mechanisms() map[string]func(name string, o Options) (exchange, error) {
	return map[string]func(string, Options) (exchange, error){
		"PLAIN":       newPlain,
		"LOGIN":       newLogin,
		"EXTERNAL":    newExternal,
		"CRAM-MD5":    newCRAM,
		"CRAM-SHA1":   newCRAM,
		"CRAM-SHA256": newCRAM,

		oauthBearer: newBearer,
		xoauth2:     newBearer,

		"SCRAM-SHA-1":        newSCRAM,
		"SCRAM-SHA-1-PLUS":   newSCRAM,
		"SCRAM-SHA-256":      newSCRAM,
		"SCRAM-SHA-256-PLUS": newSCRAM,
	}
}

// Known says whether newExchange has a mechanism.
func Known(mechanism string, o Options) bool {
	_, err := newExchange(mechanism, o)
	return err == nil
}

// Check reports as ErrMalformed a user name or password that must not go any further: an empty name, one of
// them too long, a control character in one of them (a line break would become a second command at a mailhost
// or a second field at the auth module). Bytes above 0x7f pass, valid UTF-8 or not: old accounts have Latin-1
// passwords.
func Check(user, password string) error {
	switch {
	case user == "" || !text.PlainName(user) || !text.Plain(password):
		return ErrMalformed
	case len(user) > MaxUser || len(password) > MaxPassword:
		return ErrTooLong
	}
	return nil
}
