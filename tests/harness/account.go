package harness

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// MailID is the uid and gid of the accounts' files unless an Account says otherwise: Debian's system user
// mail. (Under a uid without a name Courier's imapd waits two seconds for its file alteration monitor to
// start.)
const MailID = 8

// Account is a mail account for userdb and for Dovecot.
type Account struct {
	Name     string
	Password string
	Hash     string // userdb: stored hash; empty = {SHA} of Password
	CRAM     bool   // userdb: store the HMAC secrets of Password too, for CRAM-MD5, -SHA1 and -SHA256
	ID       int    // uid and gid; 0 = MailID
	Home     string // home directory; empty: none is needed, because the account is elsewhere ("/nonexistent")
	Maildir  string // userdb: mail=; empty = the program's default maildir
	Options  string // userdb: options=, for example "mailhost=127.0.0.2"
}

func (a Account) id() int {
	if a.ID == 0 {
		return MailID
	}
	return a.ID
}

func (a Account) home() string {
	if a.Home == "" {
		return "/nonexistent"
	}
	return a.Home
}

// Userdb writes the accounts to /etc/courier/userdb and runs Courier's makeuserdb. With no account the
// files are empty.
func Userdb(t testing.TB, accounts ...Account) {
	t.Helper()
	UserdbText(t, userdbLines(t, accounts))
	Run(t, "", "/usr/sbin/makeuserdb")
}

// UserdbTextOnly writes the accounts to /etc/courier/userdb as Userdb does, without the databases that
// makeuserdb builds: what a fresh installation without Courier has.
func UserdbTextOnly(t testing.TB, accounts ...Account) {
	t.Helper()
	UserdbText(t, userdbLines(t, accounts))
	for _, name := range []string{"userdb.dat", "userdbshadow.dat"} {
		if err := os.Remove("/etc/courier/" + name); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}

// UserdbText writes /etc/courier/userdb as given, in one step: a daemon that reads it meanwhile finds the old
// text or the new one.
func UserdbText(t testing.TB, text string) {
	t.Helper()
	Root(t)
	const path = "/etc/courier/userdb"
	WriteFile(t, path+".new", text, 0o600)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func userdbLines(t testing.TB, accounts []Account) string {
	t.Helper()
	var text strings.Builder
	for _, a := range accounts {
		hash := a.Hash
		if hash == "" {
			sum := sha1.Sum([]byte(a.Password))
			hash = "{SHA}" + base64.StdEncoding.EncodeToString(sum[:])
		}
		fields := []string{fmt.Sprintf("uid=%d|gid=%d", a.id(), a.id()), "home=" + a.home(), "systempw=" + hash}
		if a.Maildir != "" {
			fields = append(fields, "mail="+a.Maildir)
		}
		if a.Options != "" {
			fields = append(fields, "options="+a.Options)
		}
		for _, kind := range []string{"md5", "sha1", "sha256"} {
			if a.CRAM {
				secret := Run(t, a.Password+"\n", "/usr/sbin/userdbpw", "-hmac-"+kind)
				fields = append(fields, "hmac-"+kind+"pw="+strings.TrimSpace(secret))
			}
		}
		fmt.Fprintf(&text, "%s\t%s\n", a.Name, strings.Join(fields, "|"))
	}
	return text.String()
}

// NewHome makes a home directory that belongs to MailID and holds the maildir "Maildir" with the messages,
// and returns its path.
func NewHome(t testing.TB, messages ...string) string {
	t.Helper()
	home := filepath.Join(Dir(t), "home")
	mkdir(t, home, MailID)
	Maildir(t, filepath.Join(home, "Maildir"), MailID, messages...)
	return home
}

// Maildir makes a maildir that belongs to the id and holds the messages. They have been read: a session need
// not move or rename them. Courier's courierpop3d does not find a file again that another session renames, as
// an IMAP session does that marks a message as read. Line ends in messages are LF.
func Maildir(t testing.TB, dir string, id int, messages ...string) {
	t.Helper()
	for _, path := range []string{dir, dir + "/tmp", dir + "/new", dir + "/cur"} {
		mkdir(t, path, id)
	}
	for i, text := range messages {
		path := filepath.Join(dir, "cur", fmt.Sprintf("%d.M1P1.test:2,S", 1700000000+i))
		WriteFile(t, path, text, 0o600)
		if err := os.Chown(path, id, id); err != nil {
			t.Fatal(err)
		}
	}
}

// Message is a small message with this subject.
func Message(subject string) string {
	return "From: Sender <sender@example.net>\nTo: Recipient <rcpt@example.com>\n" +
		"Date: Mon, 1 Jan 2024 10:00:00 +0000\nMessage-ID: <" + strings.ReplaceAll(subject, " ", ".") +
		"@example.net>\nSubject: " + subject + "\n\nThis is " + subject + ".\n"
}

func mkdir(t testing.TB, path string, id int) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, id, id); err != nil {
		t.Fatal(err)
	}
}
