package authlib

import (
	"context"
	"errors"
)

// ErrRefused says that the auth module knows no such account, or that the password is wrong. It does not say
// which. Every other error of this package's functions is temporary: the question could not be asked or not
// be answered.
var ErrRefused = errors.New("no such account, or wrong password")

// ErrNoDatabase says that a module has no database, and never had one: it has no accounts, so the next module
// is asked. If there is no other module, that is a temporary failure, because the account has not been looked
// up.
var ErrNoDatabase = errors.New("no database")

// These are kinds of [ErrRefused] for which no password was found wrong: the client is to be told EXPIRED,
// CONTACTADMIN, or LIMIT (RFC 5530 section 3), and none counts as a failed login. ErrTooLong is the answer
// for every name, whether there is such an account or not. ErrNoSecret is the one to a CRAM response that
// there is nothing to compare with; it tells that there is such an account, so not every client is to know.
var (
	ErrExpired  error = &refusal{"password or account expired"}
	ErrLocked   error = &refusal{"account locked or disabled"}
	ErrTooLong  error = &refusal{"password too long"}
	ErrNoSecret error = &refusal{"neither a clear password nor a secret of this mechanism is stored"}
)

// refusal is a kind of ErrRefused.
type refusal struct{ text string }

// Error implements error.
func (r *refusal) Error() string { return r.text }

// Is makes each of them an ErrRefused.
func (r *refusal) Is(target error) bool { return target == ErrRefused }

// AuthType is the kind of proof in an AuthRequest, as the authdaemon protocol names it.
type AuthType string

// The proofs that the authdaemon protocol carries. The CRAM ones are HMACs over a challenge (RFC 2195).
const (
	AuthLogin      AuthType = "login"
	AuthCRAMMD5    AuthType = "cram-md5"
	AuthCRAMSHA1   AuthType = "cram-sha1"
	AuthCRAMSHA256 AuthType = "cram-sha256"
)

// AuthRequest asks whether a client is who it claims to be.
type AuthRequest struct {
	// Service is "imap", "pop3", or what AUTHSERVICE<port> says.
	Service string
	Type    AuthType
	// User and Password are the proof of AuthLogin.
	User, Password string
	// Challenge is the decoded text that was sent to the client, Response the decoded answer: "user SPACE
	// hex-digest". They are the proof of the CRAM types.
	Challenge, Response []byte
	// RemoteIP is the client's address for the module's log; empty = not known.
	RemoteIP string
	// Fresh asks the database, whatever the daemon remembers (AUTH_CACHE_TTL). Courier's remembers nothing.
	Fresh bool
}

// LookupRequest asks for an account without any proof (PRE on the wire).
type LookupRequest struct {
	// Module names the one module to ask; empty = all in turn.
	Module        string
	Service, User string
	RemoteIP      string
	// Fresh is as in AuthRequest.
	Fresh bool
}

// PasswordRequest changes a password after checking the old one.
type PasswordRequest struct {
	Service, User, OldPassword, NewPassword string
	RemoteIP                                string
}

// Module is one account database. Its methods are called by many goroutines at once. They return ErrRefused
// for an account that is not theirs or a proof that does not hold, ErrNoDatabase, and any other error when
// they could not tell: the daemon then stops asking and the client is told to come back later. What they log,
// and their errors, do not say Name: the daemon does.
type Module interface {
	// Name is the name in authmodulelist, such as "authuserdb".
	Name() string
	Authenticate(ctx context.Context, req *AuthRequest) (*Account, error)
	Lookup(ctx context.Context, req *LookupRequest) (*Account, error)
	ChangePassword(ctx context.Context, req *PasswordRequest) error
	// Enumerate calls yield for each account in no particular order and stops at yield's first error. Only
	// Address, UID, GID, Home, Maildir and Options of an Account are filled in.
	Enumerate(ctx context.Context, yield func(*Account) error) error
	// Close releases connections and files. Requests under way end with an error.
	Close() error
}
