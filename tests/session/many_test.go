package session

import (
	"fmt"
	"sync"
	"testing"

	"mailproxy/tests/harness"
	"mailproxy/tests/transcript"
)

// 500 sessions at once, in IMAP and in POP3, all alive at the same time.
func TestManySessions(t *testing.T) {
	const sessions = 500
	accounts := []harness.Account{}
	for i := range 20 {
		accounts = append(accounts, harness.Account{Name: fmt.Sprintf("u%d", i), Password: fmt.Sprintf("pw%d", i), Options: "mailhost=" + dovecotHost})
	}
	harness.Userdb(t, accounts...)
	harness.CourierAuthdaemond(t, "authuserdb", nil)
	harness.Dovecot(t, harness.DovecotOptions{Addr: dovecotHost, Accounts: accounts})
	for _, f := range []front{
		{name: "no relayd", addr: "127.0.1.1"},
		{name: "relayd", addr: "127.0.1.4", env: harness.Env{"RELAY_SOCKET": harness.Relayd(t).Socket}},
	} {
		// The programs as they are shipped: 500 with the race detector would take gigabytes.
		f.start(t, harness.PlainBin)
		t.Run(f.name, func(t *testing.T) { manySessions(t, f, sessions) })
		harness.NoneLeft(t, "imapd-proxy", "pop3d-proxy")
	}
}

func manySessions(t *testing.T, f front, sessions int) {
	runners := make([]*transcript.Runner, sessions)
	scripts := func(i int) (string, []*transcript.Script) {
		if i%2 == 0 {
			return ":143", transcript.MustParse(t, fmt.Sprintf(`
				== login
				S~ \* OK .*
				C: a LOGIN u%[1]d pw%[1]d
				S* a OK .*
				C: b SELECT INBOX
				S* b OK .*
				== alive
				C: c NOOP
				S* c OK .*
				C: d LOGOUT
				S* d OK .*
				S-
			`, i%20))
		}
		return ":110", transcript.MustParse(t, fmt.Sprintf(`
			== login
			S~ \+OK .*
			C: USER u%[1]d
			S~ \+OK.*
			C: PASS pw%[1]d
			S~ \+OK.*
			== alive
			C: NOOP
			S~ \+OK.*
			C: QUIT
			S~ \+OK.*
			S-
		`, i%20))
	}
	for phase := range 2 {
		var all sync.WaitGroup
		for i := range runners {
			addr, script := scripts(i)
			if phase == 0 {
				runners[i] = harness.Dial(t, f.addr+addr)
				runners[i].Timeout = harness.Patience * 2
			}
			all.Go(func() {
				if err := runners[i].Play(script[phase]); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
}
