// Command pop3d-proxy talks to one POP3 client until it has logged in, and then joins it to the server that holds the
// account: the local POP3 server, which it becomes, or a mailhost, which it logs in to and relays to.
//
// It serves RFC 1939 with RFC 2449 (CAPA, response codes), RFC 2595 (STLS), RFC 3206 (AUTH and SYS codes), RFC 5034
// (AUTH) and RFC 6856 (UTF8, LANG) as far as they go before a login. APOP is not served: it needs clear passwords.
package main

import (
	"context"
	"os"
	"runtime"

	"mailproxy/internal/check"
)

func main() {
	// One connection is one line of work. More processors would only have threads wake each other up: a tenth of a login's cost.
	runtime.GOMAXPROCS(1)
	os.Exit(run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args, environ []string, stdin, stdout, stderr *os.File) int {
	if len(args) > 0 && args[0] == "check" {
		return check.Command(ctx, program(), check.POP3{}, args[1:], environ, stdin, stdout, stderr)
	}
	return program().Run(ctx, args, environ, stdin, stdout, stderr)
}
