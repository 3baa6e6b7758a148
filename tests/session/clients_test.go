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
	each(t, fronts(t), func(t *testing.T, f front) {
		for _, a := range accounts {
			for _, c := range clients.All() {
				got, err := c.Subjects(t, a.at(f))
				if err != nil {
					t.Errorf("%s: %v", a.name, err)
				} else if !slices.Equal(got, a.subjects) {
					t.Errorf("%s, %s: got %q, want %q", a.name, c.Name, got, a.subjects)
				}
			}
		}
		for _, p := range []*harness.Process{f.imap, f.pop3} {
			if unhappy := p.Log.Find(`WARN: [^p]|ERR|CRIT|FAILED|panic|DATA RACE`); len(unhappy) > 0 {
				t.Errorf("in the log: %q", unhappy)
			}
			// The same warning that Courier writes when it is a proxy and the account is here.
			if n := len(clients.All()); len(p.Log.Find(`WARN: proxy enabled, but no proxy host defined for here$`)) < n/2 {
				t.Errorf("no warning for the account without a mailhost in:\n%s", p.Log)
			}
		}
	})
	harness.NoneLeft(t, "imapd-proxy", "pop3d-proxy", "imapd", "courierpop3d")
}

// A client that gives wrong passwords, a wrong name, and then the right ones, in one session.
func TestWrongThenRight(t *testing.T) {
	world(t)
	each(t, fronts(t), func(t *testing.T, f front) {
		for _, name := range []string{"here", "on-courier", "on-dovecot"} {
			password := map[string]string{"here": `"pw here"`, "on-courier": `"p\"w\\courier"`, "on-dovecot": "pw%dovecot"}[name]
			harness.Dialogue(t, f.addr+":143", `
				S~ \* OK .*
				C: a1 LOGIN `+name+` wrong
				S~ a1 NO .*
				C: a2 LOGIN nobody wrong
				S~ a2 NO .*
				C: a3 LOGIN `+name+` `+password+`
				S* a3 OK .*
				C: a4 LOGOUT
				S* a4 OK .*
				S-
			`)
		}
		f.imap.Log.WaitN(t, 3, `LOGIN FAILED, user=nobody`)
		for _, a := range accounts {
			harness.Dialogue(t, f.addr+":110", `
				S~ \+OK .*
				C: USER `+a.name+`
				S~ \+OK .*
				C: PASS wrong
				S~ -ERR .*
				C: USER `+a.name+`
				S~ \+OK .*
				C: PASS `+a.password+`
				S~ \+OK.*
				C: QUIT
				S~ \+OK.*
				S-
			`)
		}
		f.pop3.Log.WaitN(t, 1, `LOGIN FAILED, user=here`)
	})
}
