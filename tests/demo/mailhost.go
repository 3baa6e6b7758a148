package main

import (
	"io"
	"log"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// startMailhost starts an IMAP server on a loopback address, any port, that has this one account, and
// writes its address into it.
func startMailhost(u *user, ip string) (stop func(), err error) {
	account := imapmemserver.NewUser(u.name, u.password)
	for _, folder := range []string{"INBOX", u.folder} {
		if err := account.Create(folder, nil); err != nil {
			return nil, err
		}
	}
	message := strings.NewReader("From: postmaster@example.com\r\nTo: " + u.name + "\r\nSubject: " + u.subject +
		"\r\nDate: Mon, 02 Nov 2026 12:00:00 +0000\r\n\r\nThis message is on one server only.\r\n")
	if _, err := account.Append("INBOX", message, &imap.AppendOptions{Time: time.Now()}); err != nil {
		return nil, err
	}
	store := imapmemserver.New()
	store.AddUser(account)
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return store.NewSession(), nil, nil
		},
		Caps:         imap.CapSet{imap.CapIMAP4rev1: {}},
		InsecureAuth: true, // on the loopback
		Logger:       log.New(io.Discard, "", 0),
	})
	listener, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		return nil, err
	}
	u.mailhost = listener.Addr().String()
	go server.Serve(listener)
	return func() { server.Close() }, nil
}
