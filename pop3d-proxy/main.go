// Pop3d-proxy talks to one POP3 client until it has logged in, and then joins it to the server that holds
// the account: the local POP3 server, which it becomes, or a mailhost, which it logs in to and relays to.
// It takes the place of Courier's courierpop3login.
//
// It deliberately does not look into mailboxes: bytes after the login are passed on unread.
package main

import (
	"context"
	"os"

	"mailproxy/internal/check"
	"mailproxy/internal/program"
	"mailproxy/pop3d-proxy/pop3"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Environ())) }

func run(ctx context.Context, args, environ []string) int {
	p := pop3.Program()
	if len(args) > 0 && args[0] == "check" {
		return check.Command(ctx, p, args[1:], environ, os.Stdin, os.Stdout, os.Stderr)
	}
	return program.Run(ctx, p, args, environ, os.Stdin, os.Stdout, os.Stderr)
}
