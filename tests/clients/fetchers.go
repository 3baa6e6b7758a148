package clients

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func fetchmail(protocol string) func(testing.TB, string, Server) (string, error) {
	return func(t testing.TB, dir string, s Server) (string, error) {
		addr := s.IMAP
		if protocol == "pop3" {
			addr = s.POP3
		}
		host, port, _ := net.SplitHostPort(addr)
		config := configure(t, dir, "fetchmailrc", fmt.Sprintf(
			"poll %s protocol %s port %s auth password user %s password %s keep fetchall %s mda \"cat >>%s/got\"\n",
			host, protocol, port, fetchmailQuote(s.User), fetchmailQuote(s.Password), s.fetchmailTLS(), dir))
		if out, err := run(dir, "", "fetchmail", "--nosyslog", "--nodetach", "--pidfile", filepath.Join(dir, "pid"),
			"-f", config); err != nil {
			return out, err
		}
		return texts(t, dir), nil
	}
}

// fetchmailQuote writes quotes and backslashes as numbers: fetchmail ends a string at any quote.
func fetchmailQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\x5c`, `"`, `\x22`).Replace(s) + `"`
}

// mbsync copies the INBOX into a maildir.
func mbsync(t testing.TB, dir string, s Server) (string, error) {
	mail := filepath.Join(dir, "mail")
	if err := os.Mkdir(mail, 0o700); err != nil {
		return "", err
	}
	config := configure(t, dir, "mbsyncrc", MbsyncConfig(s, mail))
	if out, err := run(dir, "", "mbsync", "-c", config, "-a"); err != nil {
		return out, err
	}
	return texts(t, mail), nil
}

// MbsyncConfig is a configuration of mbsync that copies the server's mailboxes into maildirs below a
// directory.
func MbsyncConfig(s Server, directory string) string {
	host, port, _ := net.SplitHostPort(s.IMAP)
	return fmt.Sprintf(`IMAPAccount a
Host %s
Port %s
User %s
Pass %s
%[6]s
AuthMechs LOGIN

IMAPStore far
Account a

MaildirStore near
Path %[5]s/
Inbox %[5]s/INBOX

Channel c
Far :far:INBOX
Near :near:INBOX
Create Near
Sync Pull
SyncState *
`, host, port, mbsyncQuote(s.User), mbsyncQuote(s.Password), directory, s.mbsyncTLS())
}

func mbsyncQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// mpop delivers into an mbox file. It pipelines its commands when the server says PIPELINING.
func mpop(t testing.TB, dir string, s Server) (string, error) {
	host, port, _ := net.SplitHostPort(s.POP3)
	got := filepath.Join(dir, "got")
	config := configure(t, dir, "mpoprc", fmt.Sprintf(
		"account a\nhost %s\nport %s\nuser %s\npassword %s\nauth user\n%s\nkeep on\ndelivery mbox %s\n",
		host,
		port,
		s.User,
		s.Password,
		s.mpopTLS(),
		got,
	))
	if out, err := run(dir, "", "mpop", "-C", config, "a"); err != nil {
		return out, err
	}
	return texts(t, dir), nil
}
