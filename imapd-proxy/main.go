// A session needs one processor, whatever becomes of the machine.

//go:debug updatemaxprocs=0

// Imapd-proxy is the IMAP login program of a proxy aggregator: it holds the dialogue before login (RFC 3501), asks the
// auth module who the client is, and joins the client to the mailhost that holds the account, or becomes the local IMAP
// server. It takes the place of Courier's imaplogin.
//
// It deliberately knows no mailbox: after the login not a byte is looked at. And it knows no TLS, which would double the time it
// takes to start: relayd makes the handshakes, or the program becomes imapd-proxy-tls when one is due.
package main

import (
	"context"
	"os"
	"runtime"

	"mailproxy/imapd-proxy/imap"
	_ "mailproxy/internal/entry"
)

func main() {
	// One connection is one line of work. More processors would only have threads wake each other up.
	runtime.GOMAXPROCS(1)
	p := imap.Program()
	p.Successor = p.Name + "-tls"
	os.Exit(p.Run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
