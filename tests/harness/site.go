package harness

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

// Where the mailhosts of a Site are. Courier's own proxy, like ours, finds them on the fixed ports.
const (
	CourierHost = "127.0.0.2"
	DovecotHost = "127.0.0.3"
)

// Mailbox is an account with messages, here or at a mailhost.
type Mailbox struct {
	Account
	Host     string   // CourierHost, DovecotHost, or empty: the account is here
	Subjects []string // of small messages in it
	Messages []string // further messages, whole
}

// Mailboxes are one account of each kind. Their passwords need quoting in one protocol or another.
var Mailboxes = []Mailbox{
	{Account: Account{Name: "here", Password: "pw here"}, Subjects: []string{"here 1", "here 2"}},
	{Account: Account{Name: "on-courier", Password: `p"w\courier`}, Host: CourierHost,
		Subjects: []string{"courier 1", "courier 2", "courier 3"}},
	{
		Account:  Account{Name: "on-dovecot", Password: "pw%dovecot"},
		Host:     DovecotHost,
		Subjects: []string{"dovecot 1"},
	},
}

// Site is accounts with what serves them besides a proxy.
type Site struct {
	Mailboxes []Mailbox
	Dovecot   DovecotOptions // further options; Addr and Accounts are set by Start
}

// Start makes the mailboxes, starts Courier's authdaemond with their accounts in userdb, and the mailhosts
// that are needed. The Dovecot is nil where no mailbox is on it.
func (s Site) Start(t testing.TB) *DovecotServer {
	t.Helper()
	var userdb, dovecot []Account
	onCourier := false
	for _, box := range s.Mailboxes {
		var messages []string
		for _, subject := range box.Subjects {
			messages = append(messages, Message(subject))
		}
		messages = append(messages, box.Messages...)
		a := box.Account
		home := NewHome(t, messages...)
		if box.Host == DovecotHost {
			dovecot = append(dovecot, a)
			dovecot[len(dovecot)-1].Home = home
		} else {
			a.Home = home
		}
		if box.Host != "" && !strings.Contains(a.Options, "mailhost=") {
			a.Options = strings.TrimPrefix(a.Options+",mailhost="+box.Host, ",")
		}
		onCourier = onCourier || box.Host == CourierHost
		userdb = append(userdb, a)
	}
	Userdb(t, userdb...)
	CourierAuthdaemond(t, "authuserdb", nil)
	if onCourier {
		CourierMailhost(t, CourierHost)
	}
	if dovecot == nil {
		return nil
	}
	o := s.Dovecot
	o.Addr, o.Accounts = DovecotHost, dovecot
	server := Dovecot(t, o)
	for _, a := range dovecot {
		indexDovecot(t, a)
	}
	return server
}

// indexDovecot lets Dovecot make an account's index, alone: of two sessions that would make it together, one
// may see an empty mailbox.
func indexDovecot(t testing.TB, a Account) {
	t.Helper()
	Dialogue(t, DovecotHost+":143", fmt.Sprintf(`
		S* \* OK .*
		C: a LOGIN %s %s
		S* a OK .*
		C: b SELECT INBOX
		S* b OK .*
		C: c LOGOUT
		S* c OK .*
		S-
	`, a.Name, Quoted(a.Password))).Conn.Close()
}

// Quoted is a text as an IMAP quoted string, RFC 3501.
func Quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// With returns the settings with more over them; neither is changed.
func (e Env) With(more Env) Env {
	all := Env{}
	maps.Copy(all, e)
	maps.Copy(all, more)
	return all
}
