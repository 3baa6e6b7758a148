package frontend

import (
	"context"
	"errors"
	"io"
	"syscall"

	"mailproxy/authlib"
	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/login"
	"mailproxy/internal/maillog"
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
	Login func(ctx context.Context, m *Mailhost) error
	// Serve holds the dialogue with a client and returns the exit status. Deadlines are set by this package:
	// the dialogue reads and writes c.Client, and asks c.Why when that fails.
	Serve func(ctx context.Context, c *Conn) int
	// Capabilities is what a client is told before it logs in, one capability an element.
	Capabilities func(c *Conn) []string
	// Unavailable is what a client reads when no dialogue can begin, a whole line without its end: settings
	// are wrong, the connection cannot be used, or there are too many of them.
	Unavailable string
}

// Mailhost is one connection to a mailhost, first while we log in to it, then for good.
type Mailhost struct {
	// Conn is the connection. StartTLS replaces it.
	Conn launch.Conn
	// Host is the server as the mailhost option names it, Addr the address and port that we are connected to.
	Host, Addr string
	// Tag is the IMAP tag of the client's login command.
	Tag string
	// User and Password log in. Authzid, when not empty, is on whose behalf: then it must be SASL PLAIN (RFC
	// 4616).
	User, Password, Authzid string
	// StartTLS is nil unless the connection must be encrypted before the login: then Login sends STARTTLS or
	// STLS after the greeting, reads the answer and calls it. It replaces Conn.
	StartTLS func(ctx context.Context) error
	// TLS says that Conn is encrypted.
	TLS bool
	// Client is the real client, for PROXY_FORWARD_CLIENT.
	Client launch.Peer
	// Hops is how many proxies may still follow, to be told to one; 0 = it is not to be told.
	Hops int
	// UTF8 says that a POP3 client has sent UTF8.
	UTF8 bool
	// ID is what an IMAP client has said of itself.
	ID []IDField
	// Offered is the capability list that the client was shown, as the dialogue writes it.
	Offered string
	// LeaveOut says that the mailhost has hung up on something that it can be logged in to without: see
	// HungUpError.
	LeaveOut bool
	// Config is the session's.
	Config *config.Config
	// Log is the session's.
	Log *maillog.Log
	// Answer is the dialogue's own: what it wants to pass to the client later (foreign capabilities).
	Answer []byte
}

// Step names a stage of the way to a mailhost in log lines and errors.
type Step string

// The steps of logging in at a mailhost.
const (
	StepResolve  Step = "resolve"
	StepConnect  Step = "connect"
	StepTLS      Step = "tls"
	StepGreeting Step = "greeting"
	StepForward  Step = "forward"
	StepUTF8     Step = "utf8"
	StepUser     Step = "user"
	StepPassword Step = "password"
	StepLogin    Step = "login"
	StepFollow   Step = "capability"
)

// StepError says at which step a mailhost turned out to be of no use now.
type StepError struct {
	Step Step
	Err  error
}

// Error writes the step and the cause.
func (e *StepError) Error() string { return string(e.Step) + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

// RejectedError says that the mailhost answered a login command with something else than yes.
type RejectedError struct {
	Step   Step
	Answer login.Answer
}

// Error writes the step and the mailhost's answer.
func (e *RejectedError) Error() string { return string(e.Step) + ": rejected: " + e.Answer.Text }

// HungUpError says that the mailhost ended the connection when it was told something that can be left out. It
// is connected to and logged in to once more, with Mailhost.LeaveOut.
type HungUpError struct {
	What string // "UTF8", "the client's fields of ID"
	Err  error
}

// Error names what was not liked.
func (e *HungUpError) Error() string { return "hung up on " + e.What + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *HungUpError) Unwrap() error { return e.Err }

// HungUp says whether err is the end of a connection, and not a timeout or an answer.
func HungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
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

// IDField is one of the fields by which an IMAP client describes itself (RFC 2971).
type IDField struct {
	Name, Value string
	Nil         bool // the value is NIL
}

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
	ID []IDField
}

// Outcome is a login that succeeded.
type Outcome struct {
	Account *authlib.Account
	// Mailhost is nil when the account is here: call ExecLocal. Else call Relay.
	Mailhost *Mailhost
}
