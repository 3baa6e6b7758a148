// Package relay joins two connections, a client's and a mailhost's, until both directions are done; or hands the two to
// relayd, the service that holds the sessions of many processes. It knows nothing of IMAP or POP3: bytes go through
// unread, unchanged and in order.
package relay

import (
	"fmt"
	"io"
	"time"

	"mailproxy/internal/text"
	"mailproxy/relay/internal/pump"
)

// Conn is a stream whose two directions end separately: *net.TCPConn, *net.UnixConn, *tls.Conn. A socket gives its
// descriptor by syscall.Conn; whether that waits or not is of no importance.
type Conn interface {
	io.ReadWriteCloser
	CloseWrite() error
	SetDeadline(t time.Time) error
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

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

// Options are the choices a caller of Join has. The zero value is fit for use.
type Options struct {
	KeepAlive time.Duration // idle time before TCP keepalive probes on both sides; 0 = off
	// HalfClosed ends a session of which one side has ended and in which no byte has moved for so long; 0 = DefaultHalfClosed.
	HalfClosed time.Duration
	// First is what the client is sent before anything of the mailhost's, the answer to its login. It is not counted.
	First string
	// Users are who relayd may run as, besides root and this process's own user: HandOver asks who listens.
	Users []string
}

// DefaultHalfClosed is longer than any server works on a command without a word.
const DefaultHalfClosed = 5 * time.Minute

// ErrHalfClosed is why such a session ended.
var ErrHalfClosed = pump.ErrHalfClosed

// ErrTruncated is why a session ended of which one side's TLS stream stopped without close_notify (RFC 8446 section 6.1).
var ErrTruncated = pump.ErrTruncated

func (o Options) halfClosed() time.Duration {
	if o.HalfClosed <= 0 {
		return DefaultHalfClosed
	}
	return o.HalfClosed
}

// Stats tell what a session moved. Bytes are counted when the other side's kernel has taken them.
type Stats struct {
	FromClient   int64
	FromMailhost int64
	Duration     time.Duration
}

// EndLine returns the log line that ends a relayed session, without a line end. rcvd counts what the client sent, sent
// what it was given, time is in whole seconds. No name can pass for a field of the line, or for a line.
func EndLine(i Info, s Stats) string {
	return fmt.Sprintf("INFO: LOGOUT, user=%s, ip=[%s], port=[%s], mailhost=%s, rcvd=%d, sent=%d, time=%d, protocol=%s",
		text.Field(i.User), text.Field(i.RemoteIP), text.Field(i.RemotePort), text.Field(i.Mailhost),
		s.FromClient, s.FromMailhost, int64(s.Duration/time.Second), text.Field(i.Protocol))
}

// visible is a value as a message to relayd may carry it.
func visible(s string) string { return text.Visible(s) }
