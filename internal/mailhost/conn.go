package mailhost

import (
	"context"

	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/maillog"
)

// Conn is one connection to a mailhost, first while we log in to it, then for good.
type Conn struct {
	// Conn is the connection. StartTLS replaces it.
	Conn launch.Conn
	// Host is the server as the mailhost option names it, Addr the address and port that we are connected to.
	Host, Addr string
	// Path is the unix socket to connect to in the place of an address; empty but for PROXY_LOCAL.
	Path string
	// Tag is the IMAP tag of the client's login command.
	Tag string
	// User and Password log in. Authzid, when not empty, is on whose behalf: then it must be SASL PLAIN (RFC
	// 4616).
	User, Password, Authzid string
	// Token, when not empty, logs in in the place of Password, by Mechanism: it is the client's message, to be
	// sent as it is.
	Mechanism, Token string
	// Name is the account's own, for the log, where it is not the one that logs in; empty = that one.
	Name string
	// Mode is how the connection is encrypted; empty = as PROXY_TLS says.
	Mode config.Mode
	// Unverified says that Password is what the client has sent, and that nobody but the mailhost verifies it.
	Unverified bool
	// StartTLS is nil unless the connection must be encrypted before the login: then Login sends STARTTLS or
	// STLS after the greeting, reads the answer and calls it. It replaces Conn.
	StartTLS func(ctx context.Context) error
	// TLS says that Conn is encrypted.
	TLS bool
	// Local says that this is PROXY_LOCAL: a program on this machine that runs the local server.
	Local bool
	// ClientTLS says that the client's connection is encrypted, which only PROXY_LOCAL is told.
	ClientTLS bool
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
	// Answer is the dialogue's own: what it wants to pass to the client later (foreign capabilities, and what
	// PROXY_LOCAL has said to the login).
	Answer []byte
}

// Send writes a command, which may hold the password, and overwrites it.
func (m *Conn) Send(command []byte) error {
	_, err := m.Conn.Write(command)
	clear(command)
	return err
}

// Decides says that the mailhost alone decides whether the client may log in, because its password or token
// has not been verified here. A response that came before the credentials were sent then does not count as an
// answer.
func (m *Conn) Decides() bool { return m.Unverified || m.Token != "" }

// Account is whose login it is, also with another account's password.
func (m *Conn) Account() string {
	if m.Name != "" {
		return m.Name
	}
	if m.Authzid != "" {
		return m.Authzid
	}
	return m.User
}

// IDField is one of the fields by which an IMAP client describes itself (RFC 2971).
type IDField struct {
	Name, Value string
	Nil         bool // the value is NIL
}
