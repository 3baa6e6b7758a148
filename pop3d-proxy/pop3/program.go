// Package pop3 is the POP3 dialogue before login, with the client and with a mailhost.
//
// It serves RFC 1939 with RFC 2449 (CAPA, response codes), RFC 2595 (STLS), RFC 3206 (AUTH and SYS codes),
// RFC 5034 (AUTH) and RFC 6856 (UTF8, LANG) as far as they go before a login. APOP is not served: it needs
// clear passwords.
package pop3

import (
	"mailproxy/internal/frontend"
	"mailproxy/internal/login"
)

// Program returns what makes a front end a POP3 one.
func Program() *frontend.Program {
	return &frontend.Program{
		Name:           "pop3d-proxy",
		Protocol:       protocol(),
		WrongArguments: "-ERR pop3d-proxy requires exactly two arguments.",
	}
}

func protocol() *frontend.Protocol {
	return &frontend.Protocol{
		Protocol: login.Protocol{
			Name: "POP3", Service: "pop3", Port: "110", TLSPort: "995", TLSWord: "stls",
			Codes: login.POP3(),
			Login: loginAtMailhost,
			Visit: newVisit,
		},
		// courierpop3d reads its standard input with plain read calls and takes EAGAIN for the end.
		NonBlocking: false,
		NewDialogue: newDialogue,
		Unavailable: textTemporary,
	}
}
