package frontend

import (
	"context"

	"mailproxy/internal/login"
)

// Protocol is what differs between IMAP and POP3.
type Protocol struct {
	login.Protocol
	// NonBlocking is the mode of the local server's file descriptors, see package local.
	NonBlocking bool
	// Serve holds the dialogue with a client and returns the exit status. Deadlines are set by this package:
	// the dialogue reads and writes c.Client, and asks c.Why when that fails.
	Serve func(ctx context.Context, c *Conn) int
	// Capabilities is what a client is told before it logs in, one capability an element.
	Capabilities func(c *Conn) []string
	// Unavailable is what a client reads when no dialogue can begin, a whole line without its end: settings
	// are wrong, the connection cannot be used, or there are too many of them.
	Unavailable string
}
