// Package imap is the IMAP dialogue before login (RFC 3501), with the client and with a mailhost.
package imap

import (
	"mailproxy/internal/frontend"
	"mailproxy/internal/login"
)

// Program returns what makes a front end an IMAP one.
func Program() *frontend.Program {
	return &frontend.Program{
		Name:           "imapd-proxy",
		Protocol:       protocol(),
		WrongArguments: "* BYE imapd-proxy expected exactly two arguments.",
	}
}

func protocol() *frontend.Protocol {
	return &frontend.Protocol{
		Protocol: login.Protocol{
			Name: "IMAP", Service: "imap", Port: "143", TLSPort: "993", TLSWord: "starttls",
			Codes: login.IMAP(),
			Login: loginAtMailhost,
			Visit: newVisit,
		},
		NonBlocking: true, // Courier's imapd expects file descriptors 0 and 1 so
		NewDialogue: newDialogue,
		Unavailable: "* BYE [UNAVAILABLE] " + textTemporary,
	}
}
