package session

import (
	"slices"
	"testing"

	"mailproxy/tests/clients"
	"mailproxy/tests/harness"
)

// Every client reads every account through every set-up of the proxy.
func TestClients(t *testing.T) {
	world(t)
	for _, f := range fronts(t) {
		for _, a := range accounts {
			for _, c := range clients.All() {
				t.Run(f.name+"/"+a.name+"/"+c.Name, func(t *testing.T) {
					got, err := c.Subjects(t, a.at(f))
					if err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(got, a.subjects) {
						t.Errorf("got %q, want %q", got, a.subjects)
					}
				})
			}
		}
	}
}

func fronts(t *testing.T) []front {
	f := front{name: "courier", addr: "127.0.0.1"}
	f.imap = harness.IMAPUnderCourier(t, f.addr, harness.CourierIMAPLogin, harness.Env{"IMAP_PROXY": "1"})
	f.pop3 = harness.POP3UnderCourier(t, f.addr, harness.CourierPOP3Login, harness.Env{"POP3_PROXY": "1"})
	return []front{f}
}
