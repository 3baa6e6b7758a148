package session

import (
	"slices"
	"testing"

	"mailproxy/tests/clients"
	"mailproxy/tests/harness"
)

// Every client reads every mailbox.
func TestClients(t *testing.T) {
	each(t, func(t *testing.T, p *harness.Proxy) {
		t.Run("mailboxes", func(t *testing.T) {
			for _, box := range harness.Mailboxes {
				t.Run(box.Name, func(t *testing.T) {
					t.Parallel()
					for _, c := range clients.All() {
						got, err := c.Subjects(t, at(box, p))
						if err != nil {
							t.Error(err)
						} else if !slices.Equal(got, box.Subjects) {
							t.Errorf("%s: got %q, want %q", c.Name, got, box.Subjects)
						}
					}
				})
			}
		})
		for _, port := range []string{"IMAP", "POP3"} {
			if unhappy := p.Log(port).Find(`WARN: [^p]|ERR|CRIT|FAILED|panic|DATA RACE`); len(unhappy) > 0 {
				t.Errorf("in the log: %q", unhappy)
			}
			// The same warning that Courier writes when it is a proxy and the account is here.
			warnings := p.Log(port).Find(`WARN: proxy enabled, but no proxy host defined for here$`)
			if len(warnings) < len(clients.All())/2 {
				t.Errorf("no warning for the account without a mailhost in:\n%s", p.Log(port))
			}
		}
		p.Idle(t)
		harness.NoneLeft(t, "imapd", "courierpop3d")
	})
}

// A client that gives wrong passwords, a wrong name, and then the right ones, in one session; with Courier's
// authdaemond, ours, and ours started for the one question.
func TestWrongThenRight(t *testing.T) {
	harness.EachFrontEnd(t, func(t *testing.T, m *harness.Mode) {
		harness.Site{Mailboxes: harness.Mailboxes}.Start(t)
		own := harness.Authdaemond(t, "authuserdb", nil)
		for name, env := range map[string]harness.Env{
			"Courier's authdaemond": nil,
			"authdaemond":           {"AUTHDAEMON_SOCKET": own.Socket},
			"one-shot":              {"AUTHDAEMON_SOCKET": "/nonexistent/socket"},
		} {
			t.Run(name, func(t *testing.T) {
				if name == "one-shot" {
					// It runs as the front end's user, who may read nobody else's hashes.
					m.Give(t, "/etc/courier/userdbshadow.dat")
				}
				wrongThenRight(t, m.Start(t, harness.ProxyOptions{Addr: addr, Env: env}))
			})
		}
	})
}

func wrongThenRight(t *testing.T, p *harness.Proxy) {
	for _, box := range harness.Mailboxes {
		harness.Dialogue(t, p.At("IMAP"), `
			S~ \* OK .*
			C: a1 LOGIN `+box.Name+` wrong
			S~ a1 NO .*
			C: a2 LOGIN nobody wrong
			S~ a2 NO .*
			C: a3 LOGIN `+box.Name+` `+harness.Quoted(box.Password)+`
			S* a3 OK .*
			C: a4 LOGOUT
			S* a4 OK .*
			S-
		`)
		harness.Dialogue(t, p.At("POP3"), `
			S~ \+OK .*
			C: USER `+box.Name+`
			S~ \+OK .*
			C: PASS wrong
			S~ -ERR .*
			C: USER `+box.Name+`
			S~ \+OK .*
			C: PASS `+box.Password+`
			S~ \+OK.*
			C: QUIT
			S~ \+OK.*
			S-
		`)
	}
	p.Log("IMAP").WaitN(t, len(harness.Mailboxes), `LOGIN FAILED, user=nobody`)
	p.Log("POP3").WaitN(t, 1, `LOGIN FAILED, user=here`)
}
