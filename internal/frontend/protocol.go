package frontend

import "mailproxy/internal/login"

// Protocol is what differs between IMAP and POP3.
type Protocol struct {
	login.Protocol
	// NonBlocking is the mode of the local server's file descriptors, see package local.
	NonBlocking bool
	// NewDialogue begins the dialogue with a client.
	NewDialogue func(c *Conn) Dialogue
	// Unavailable is what a client reads when no dialogue can begin, a whole line without its end: settings
	// are wrong, the connection cannot be used, or there are too many of them.
	Unavailable string
}
