package frontend

import (
	"context"
	"errors"

	"mailproxy/authlib"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
)

// AuthModule answers for accounts; authlib.Client is the one in use. Errors are authlib.ErrRefused or
// temporary.
type AuthModule interface {
	Authenticate(ctx context.Context, req *authlib.AuthRequest) (*authlib.Account, error)
	Lookup(ctx context.Context, req *authlib.LookupRequest) (*authlib.Account, error)
}

// Protocol is what differs between IMAP and POP3.
type Protocol struct {
	// Name is "IMAP" or "POP3": log lines, PROTOCOL= for the local server, the prefix of settings
	// (IMAP_PROXY, IMAP_TLS).
	Name string
	// Service is "imap" or "pop3", the service that the auth module is asked for unless AUTHSERVICE<port>
	// says otherwise.
	Service string
	// Port and TLSPort are the mailhost's ports unless its option names one.
	Port, TLSPort string
	// TLSWord is how the LOGIN log line calls TLS: "starttls" or "stls".
	TLSWord string
	// Codes are its response codes.
	Codes login.Codes
	// NonBlocking is the mode of the local server's descriptors, see package local.
	NonBlocking bool
	// Login logs in at a mailhost: it reads the greeting and sends the credentials. It returns nil when the
	// mailhost has said yes and nothing behind its answer has been read, a *RejectedError when it answered
	// the login commands with something else, and any other error, best a *StepError, when it did not come so
	// far. The connection's deadline is set and moved into the past when ctx ends, so Login need not care.
	// Needed only where proxying is on.
	Login func(ctx context.Context, m *mailhost.Conn) error
	// Serve holds the dialogue with a client and returns the exit status. Deadlines are set by this package:
	// the dialogue reads and writes c.Client, and asks c.Why when that fails.
	Serve func(ctx context.Context, c *Conn) int
	// Capabilities is what a client is told before it logs in, one capability an element.
	Capabilities func(c *Conn) []string
	// Unavailable is what a client reads when no dialogue can begin, a whole line without its end: settings
	// are wrong, the connection cannot be used, or there are too many of them.
	Unavailable string
}

// DeniedError says that the client has proven who it is and is not let in all the same: the account's server
// does not take it, or its options or the way it came do not allow the login. It is no failed login: it is
// answered after the usual delay, and counts nowhere against the client.
type DeniedError struct {
	// Code is the protocol's response code; empty = none.
	Code string
	// Alert is what the client is to show its user, on one line; mostly empty.
	Alert string
}

func (e *DeniedError) Error() string { return "login denied: [" + e.Code + "] " + e.Alert }

// What Login, Relay and ExecLocal tell the dialogue. Everything is logged by then.
var (
	// ErrRefused: no such account, or a wrong password. The client may try again.
	ErrRefused = errors.New("login refused")
	// ErrTemporary: nobody could tell, or the account's server is not to be had. The client may try again
	// later.
	ErrTemporary = errors.New("temporary failure")
	// ErrHome: the account's home cannot be entered, or the local server or the relaying did not begin after
	// this process had become another user, or half of it; the session must end with a temporary failure.
	ErrHome = errors.New("home directory cannot be entered")
	// ErrEnd: the session's time is over or the program was told to stop; see Conn.Why.
	ErrEnd = errors.New("session ends")
)

// Credentials are what a client said about itself.
type Credentials struct {
	// Mechanism is "LOGIN" for the protocol's own command (IMAP LOGIN, POP3 USER and PASS), else the SASL
	// mechanism.
	Mechanism string
	// SASL says that they came by AUTHENTICATE or AUTH: the failure line then names the mechanism instead of
	// the user.
	SASL bool
	// Type is the kind of proof.
	Type authlib.AuthType
	// User and Password are the proof of authlib.AuthLogin.
	User, Password string
	// Challenge and Response, decoded, are the proof of the CRAM types.
	Challenge, Response []byte
	// TooLong says that the name or the password is longer than any account's: nobody is asked, and the log
	// tells it apart.
	TooLong bool
	// External says that the certificate has proven User already (SASL EXTERNAL).
	External bool
	// UTF8 says that a POP3 client has sent UTF8.
	UTF8 bool
	// Offered is the capability list that the client was shown.
	Offered string
	// ID is what an IMAP client has said of itself.
	ID []mailhost.IDField
}

// Outcome is a login that succeeded.
type Outcome struct {
	Account *authlib.Account
	// Mailhost is nil when the account is here: call ExecLocal. Else call Relay.
	Mailhost *mailhost.Conn
}
