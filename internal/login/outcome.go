package login

import (
	"errors"

	"mailproxy/authlib"
	"mailproxy/internal/mailhost"
)

// Outcome is a login that succeeded.
type Outcome struct {
	Account *authlib.Account
	// Mailhost is the mailhost that has taken the account; nil when the account is here.
	Mailhost *mailhost.Conn
}

// What Login and Refuse tell the dialogue. Everything is logged by then.
var (
	// ErrRefused: no such account, or a wrong password. The client may try again.
	ErrRefused = errors.New("login refused")
	// ErrTemporary: the auth module could not answer, or the account's server is not available. The client
	// may try again later.
	ErrTemporary = errors.New("temporary failure")
	// errGone: the client has closed the connection while its login was held.
	errGone = errors.New("client has gone")
	// ErrEnd: the session's time is over or the program was told to stop.
	ErrEnd = errors.New("session ends")
)

// DeniedError says that a login is refused for another reason than a wrong name or password: the account's
// mailhost does not accept it, or the account's options do not allow this service, this mechanism or this
// connection. It is answered after the usual delay and is not counted as a failed login.
type DeniedError struct {
	// Code is the protocol's response code; empty = none.
	Code string
	// Alert is what the client is to show its user, on one line; mostly empty.
	Alert string
	// Challenge is a mailhost's, in base64, which the client is to see before the refusal: why its token is
	// refused (RFC 7628 section 3.2.2). Mostly empty.
	Challenge string
}

func (e *DeniedError) Error() string { return "login denied: [" + e.Code + "] " + e.Alert }
