package resident

import (
	"testing"

	"mailproxy/tests/harness"
)

// While no name server answers, logins go to the addresses that a mailhost had; a reload forgets nothing.
func TestNameServersThatDoNotAnswer(t *testing.T) {
	harness.Userdb(t, harness.Account{Name: "ann", Password: "pw", Options: "mailhost=mail7"})
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.Hosts(t, goodHost+" mail7")
	front := harness.Resident().Start(t, harness.ProxyOptions{Addr: mailhostsAddr})
	until := func(line string) {
		t.Helper()
		for _, p := range protocols {
			if !harness.Eventually(func() bool {
				p.allGetIn(t, front, "ann", 2)
				return t.Failed() || len(front.Log(p.Name).Find(line)) > 0
			}) {
				t.Fatalf("no line %q", line)
			}
		}
	}
	for _, p := range protocols {
		newServer(t, p.At(goodHost), p.serve)
	}
	until("LOGIN, user=ann")
	harness.Hosts(t) // now it is the name server's, which is not there
	until("^WARN: MAILHOST UNRESOLVED, mailhost=mail7: lookup mail7 .*: its last addresses are used$")
	// The next process knows this, and finds the name there again.
	harness.Hosts(t, goodHost+" mail7")
	for _, p := range protocols {
		front.Reread(t, p.Name)
	}
	until("^NOTICE: MAILHOST RESOLVED, mailhost=mail7, unresolved=[0-9]+$")
	for _, p := range protocols {
		front.Log(p.Name).WaitN(t, 1, "MAILHOST UNRESOLVED")
	}
}
