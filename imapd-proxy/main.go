// Imapd-proxy is the IMAP login program of a proxy aggregator: it holds the dialogue before login (RFC
// 3501), asks the auth module who the client is, and joins the client to the mailhost that holds the
// account, or becomes the local IMAP server. It takes the place of Courier's imaplogin.
//
// It deliberately knows no mailbox: after the login not a byte is looked at.
package main

import (
	"context"
	"os"
	"runtime"

	"mailproxy/imapd-proxy/imap"
	"mailproxy/internal/check"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Environ())) }

func run(ctx context.Context, args, environ []string) int {
	// One connection is one line of work. More processors would only have threads wake each other up.
	runtime.GOMAXPROCS(1)
	p := imap.Program()
	if len(args) > 0 && args[0] == "check" {
		return check.Command(ctx, p, check.IMAP{}, args[1:], environ, os.Stdin, os.Stdout, os.Stderr)
	}
	return p.Run(ctx, args, environ, os.Stdin, os.Stdout, os.Stderr)
}
