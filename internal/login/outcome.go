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
	// ErrTemporary: nobody could tell, or the account's server is not to be had. The client may try again
	// later.
	ErrTemporary = errors.New("temporary failure")
	// errGone: the client has closed the connection while its login was held.
	errGone = errors.New("client has gone")
	// ErrEnd: the session's time is over or the program was told to stop.
	ErrEnd = errors.New("session ends")
)

// DeniedError says that the client has proven who it is and is not let in all the same: the account's server
// does not take it, or its options or the way it came do not allow the login. It is no failed login: it is
// answered after the usual delay, and counts nowhere against the client.
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
