// Command pop3d-proxy talks to one POP3 client until it has logged in, and then joins it to the server that holds the
// account: the local POP3 server, which it becomes, or a mailhost, which it logs in to and relays to.
//
// It serves RFC 1939 with RFC 2449 (CAPA, response codes), RFC 2595 (STLS), RFC 3206 (AUTH and SYS codes), RFC 5034
// (AUTH) and RFC 6856 (UTF8, LANG) as far as they go before a login. APOP is not served: it needs clear passwords.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(program().Run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
