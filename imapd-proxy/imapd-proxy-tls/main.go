// A session needs one processor, whatever becomes of the machine.

//go:debug updatemaxprocs=0

// Imapd-proxy-tls is imapd-proxy with TLS built in. imapd-proxy becomes it for a handshake that no relayd makes, and for
// "imapd-proxy check"; where most sessions are encrypted and there is no relayd, a launcher may as well start it itself.
package main

import (
	"context"
	"os"
	"runtime"

	"mailproxy/imapd-proxy/imap"
	"mailproxy/internal/check"
	_ "mailproxy/internal/entry"
	"mailproxy/internal/fronttls"
)

func main() { os.Exit(run()) }

func run() int {
	runtime.GOMAXPROCS(1) // one connection is one line of work
	ctx, args, environ := context.Background(), os.Args[1:], os.Environ()
	p := imap.Program()
	p.TLS = fronttls.Encrypter{}
	if len(args) > 0 && args[0] == "check" {
		return check.Command(ctx, p, check.IMAP{}, args[1:], environ, os.Stdin, os.Stdout, os.Stderr)
	}
	return p.Run(ctx, args, environ, os.Stdin, os.Stdout, os.Stderr)
}
