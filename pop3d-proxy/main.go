// A session needs one processor, whatever becomes of the machine.

//go:debug updatemaxprocs=0

// Pop3d-proxy talks to one POP3 client until it has logged in, and then joins it to the server that holds the
// account: the local POP3 server, which it becomes, or a mailhost, which it logs in to and relays to. It takes the place of
// Courier's courierpop3login.
//
// It deliberately knows no mailbox: after the login not a byte is looked at. And it knows no TLS, which would double the time it
// takes to start: relayd makes the handshakes, or the program becomes pop3d-proxy-tls when one is due.
package main

import (
	"context"
	"os"
	"runtime"

	_ "mailproxy/internal/entry"
	"mailproxy/pop3d-proxy/pop3"
)

func main() {
	// One connection is one line of work. More processors would only have threads wake each other up.
	runtime.GOMAXPROCS(1)
	p := pop3.Program()
	p.Successor = p.Name + "-tls"
	os.Exit(p.Run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
