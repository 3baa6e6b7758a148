// Package login finds the account for a client's credentials and the place where it lives: here, or on a
// mailhost, to which it logs in. It classifies refusals by their cause, delays them, and writes the log line
// for each event of a session.
//
// One table classifies a mailhost's refusals of logins whose passwords have been verified here. mailproxy(5)
// shows it under REFUSALS; both protocols use it.
//
// It deliberately has no connection to the client: commands and replies are the dialogues', which also carry
// the messages of a SASL exchange (Session.Exchange). Connections that have logged in are package frontend's.
package login

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/config"
	"mailproxy/internal/mailhost"
	"mailproxy/relay"
)

// Service takes clients to accounts. It is made once from settings and does not change: what is known of one
// client is in its Session. Any number of goroutines may use it.
type Service struct {
	Protocol *Protocol
	Config   *config.Config
	// Auth answers for accounts.
	Auth AuthModule
	// Throttle remembers failed logins; nil = THROTTLE_FILE, which each session opens when it needs it.
	Throttle Throttle
	// TooMany is told of each client that MAXUNAUTHPERIP turns away; nil = a log line for each.
	TooMany func(remoteIP string)
	// Reports are for relayd's counters; nil = nobody counts.
	Reports Reports
	// Mailhosts connects to mailhosts.
	Mailhosts *mailhost.Dialer
	// Local is where accounts that are here are logged in to: PROXY_LOCAL, of a process that serves many
	// connections. Zero = the outcome of their login has no mailhost.
	Local config.Place
	// System is the clock, and the name of this machine.
	System *System

	holding atomic.Int64 // logins that wait for accounts that are held
}

// Protocol is what differs between IMAP and POP3 in a login.
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
	Codes Codes
	// Login logs in at a mailhost: it reads the greeting and sends the credentials. It returns nil when the
	// mailhost has said yes and nothing after its answer has been read, a *RejectedError when it answered
	// the login commands with something else, and any other error, best a *mailhost.StepError, when it did
	// not come so far. The connection's deadline is set and moved into the past when ctx ends, so Login need
	// not care. Needed only where proxying is on.
	Login mailhost.Login
	// Visit is Login step by step, over a connection that Mailhosts.Connect has made. Needed only by a program
	// that explains logins.
	Visit func(m *mailhost.Conn) mailhost.Visit
}

// AuthModule answers for accounts; authlib.Client is the one in use. Errors are authlib.ErrRefused or
// temporary.
type AuthModule interface {
	Authenticate(ctx context.Context, req *authlib.AuthRequest) (*authlib.Account, error)
	Lookup(ctx context.Context, req *authlib.LookupRequest) (*authlib.Account, error)
}

// Throttle is the memory of failed logins, and of the connections that have not logged in: throttle.Table.
type Throttle interface {
	Acquire(addr netip.Addr, limit int, lifetime time.Duration, now time.Time) (bool, func() error, error)
	Failed(addr netip.Addr, now time.Time) (int, error)
	FailedName(name string, now time.Time) (int, error)
}

// Reports takes reports of logins to relayd: handoff.Client.
type Reports interface {
	// Available says whether there is a relayd to ask.
	Available() bool
	// Report tells relayd of a login that became no session of its own. It waits for nothing.
	Report(r *relay.Report) error
}
