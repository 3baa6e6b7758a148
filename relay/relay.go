// Package relay is the interface between front ends and relaying: a Session that is logged in, with the
// client's and the mailhost's connection, is given to a Carrier, which joins the two until the session is
// over. There are two carriers, the engine in this process (package engine) and the client of relayd (package
// handoff); the caller does not know which one it has.
package relay

import (
	"errors"
	"fmt"
	"time"

	"mailproxy/internal/text"
	"mailproxy/relay/tlsrecord"
)

// Info is what a session is called in logs and lists.
type Info struct {
	User       string // the address the auth module returned
	Protocol   string // "IMAP" or "POP3"
	RemoteIP   string // the client's address as the launcher wrote it (IPv4 as ::ffff:192.0.2.7)
	RemotePort string
	Mailhost   string    // as in the account's mailhost option
	Start      time.Time // when the session was joined; zero: now
	Login      *Report   // how its login went, for relayd's counters; nil = not to be counted
}

// DefaultHalfClosed is longer than any server works on a command without a word.
const DefaultHalfClosed = 5 * time.Minute

// ErrHalfClosed is why a half-closed session ended: after one side had ended, the other neither sent, nor
// read what it was sent, nor closed.
var ErrHalfClosed = errors.New("half-closed for too long")

// ErrTruncated is why a session ended in which a TLS connection was closed without close_notify (RFC 8446
// section 6.1).
var ErrTruncated = tlsrecord.ErrTruncated

// DefaultSocket is where relayd listens unless it is told otherwise.
const DefaultSocket = "/run/mailproxy/relayd/socket"

// DefaultUser is the user that relayd runs as unless something else is said.
const DefaultUser = "mailproxy"

// Errors of a Carrier.
var (
	// ErrUnavailable reports that the carrier cannot take the session; another one may. The caller logs which
	// carrier it was.
	ErrUnavailable = errors.New("unavailable")
	// ErrLimit reports that the session would exceed a limit of the administrator's (sessions in all, of one
	// address, of one user). The client is refused: no other carrier may take the session.
	ErrLimit = errors.New("too many sessions")
)

// Stats tell what a session moved. Bytes are counted when the other side's kernel has taken them.
type Stats struct {
	FromClient   int64
	FromMailhost int64
	Duration     time.Duration
}

// EndLine returns the log line that ends a relayed session, without a line end. rcvd counts what the client
// sent, sent what it was given, time is in whole seconds. Names are escaped, so that they cannot forge fields
// or lines.
func EndLine(i Info, s Stats) string {
	return fmt.Sprintf("INFO: LOGOUT, user=%s, ip=[%s], port=[%s], mailhost=%s, "+
		"rcvd=%d, sent=%d, time=%d, protocol=%s",
		text.Field(i.User), text.Field(i.RemoteIP), text.Field(i.RemotePort), text.Field(i.Mailhost),
		s.FromClient, s.FromMailhost, int64(s.Duration/time.Second), text.Field(i.Protocol))
}
