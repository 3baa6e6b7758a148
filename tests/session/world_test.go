// Package session tests whole sessions: real clients, our front ends under couriertcpd, real mailhosts.
package session

import (
	"os"
	"testing"

	"mailproxy/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// Where the servers are. Courier's own proxy, like ours, finds mailhosts on the fixed ports.
const (
	courierHost = "127.0.0.2"
	dovecotHost = "127.0.0.3"
)

// account is one of the three kinds of accounts: here, on a Courier mailhost, on a Dovecot mailhost.
type account struct {
	name, password string
	subjects       []string
}

var accounts = []account{
	{"here", "pw here", []string{"here 1", "here 2"}},
	{"on-courier", `p"w\courier`, []string{"courier 1", "courier 2", "courier 3"}},
	{"on-dovecot", "pw%dovecot", []string{"dovecot 1"}},
}

// world starts both mailhosts with the accounts, and Courier's auth daemon, which also answers the Courier mailhost.
func world(t *testing.T) {
	t.Helper()
	homes := map[string]string{}
	for _, a := range accounts {
		var messages []string
		for _, subject := range a.subjects {
			messages = append(messages, harness.Message(subject))
		}
		homes[a.name] = harness.NewHome(t, messages...)
	}
	userdb := []harness.Account{
		{Name: "here", Password: accounts[0].password, Home: homes["here"]},
		{Name: "on-courier", Password: accounts[1].password, Home: homes["on-courier"], Options: "mailhost=" + courierHost},
		{Name: "on-dovecot", Password: accounts[2].password, Options: "mailhost=" + dovecotHost},
	}
	harness.Userdb(t, userdb...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.CourierMailhost(t, courierHost)
	userdb[2].Home = homes["on-dovecot"]
	harness.Dovecot(t, harness.DovecotOptions{Addr: dovecotHost, Accounts: userdb[2:]})
	// Dovecot makes its index now, alone: of two sessions that would make it together, one may see an empty mailbox.
	harness.Dialogue(t, dovecotHost+":143", `
		S~ \* OK .*
		C: a LOGIN on-dovecot pw%dovecot
		S* a OK .*
		C: b SELECT INBOX
		S* \* 1 EXISTS
		S* b OK .*
		C: c LOGOUT
		S* c OK .*
		S-
	`)
}
