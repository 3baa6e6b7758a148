// Imapd-proxy is the IMAP login program of a proxy aggregator: it holds the dialogue before login (RFC
// 3501), asks the auth module who the client is, and joins the client to the mailhost that holds the
// account, or becomes the local IMAP server. It takes the place of Courier's imaplogin.
//
// It deliberately does not look into mailboxes: bytes after the login are passed on unread.
package main

import (
	"context"
	"os"

	"mailproxy/imapd-proxy/imap"
	"mailproxy/internal/check"
	"mailproxy/internal/program"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Environ())) }

func run(ctx context.Context, args, environ []string) int {
	p := imap.Program()
	if len(args) > 0 && args[0] == "check" {
		return check.Command(ctx, p, args[1:], environ, os.Stdin, os.Stdout, os.Stderr)
	}
	return program.Run(ctx, p, args, environ, os.Stdin, os.Stdout, os.Stderr)
}
