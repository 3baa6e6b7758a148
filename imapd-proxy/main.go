// Imapd-proxy is the IMAP login program of a proxy aggregator: it holds the dialogue before login (RFC 3501), asks the
// auth module who the client is, and joins the client to the mailhost that holds the account, or becomes the local IMAP
// server. It takes the place of Courier's imaplogin.
//
// It deliberately knows no mailbox: after the login not a byte is looked at.
package main

import (
	"context"
	"os"
	"runtime"
	"strings"

	"mailproxy/internal/check"
	"mailproxy/internal/frontend"
)

func main() {
	// One connection is one line of work. More processors would only have threads wake each other up: a tenth of a login's cost.
	runtime.GOMAXPROCS(1)
	os.Exit(run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args, environ []string, stdin, stdout, stderr *os.File) int {
	if len(args) > 0 && args[0] == "check" {
		return check.Command(ctx, program(), check.IMAP{}, args[1:], environ, stdin, stdout, stderr)
	}
	return program().Run(ctx, args, environ, stdin, stdout, stderr)
}

func program() *frontend.Program {
	return &frontend.Program{
		Name:           "imapd-proxy",
		Protocol:       protocol(),
		WrongArguments: "* BYE imapd-proxy expected exactly two arguments.",
		Unavailable:    "* BYE " + textTemporary,
		Serve:          serve,
		Capabilities: func(s *frontend.Session) []string {
			return strings.Fields((&dialogue{s: s}).capabilities())
		},
	}
}

func protocol() *frontend.Protocol {
	return &frontend.Protocol{
		Name: "IMAP", Service: "imap", Port: "143", TLSPort: "993", TLSWord: "starttls",
		NonBlocking: true, // Courier's imapd expects descriptors 0 and 1 so
		Login:       loginAtMailhost,
	}
}
