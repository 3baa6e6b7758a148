package session

import (
	"fmt"
	"sync"
	"testing"

	"mailproxy/tests/harness"
	"mailproxy/tests/transcript"
)

// Many sessions at once, half in IMAP and half in POP3, all alive at the same time.
func TestVolumeSessions(t *testing.T) {
	sessions := int(harness.Volume(100, 2000))
	var boxes []harness.Mailbox
	for i := range 20 {
		account := harness.Account{Name: fmt.Sprintf("u%d", i), Password: fmt.Sprintf("pw%d", i)}
		boxes = append(boxes, harness.Mailbox{Account: account, Host: harness.DovecotHost})
	}
	harness.EachMode(t, func(t *testing.T, m *harness.Mode) {
		harness.Site{Mailboxes: boxes}.Start(t)
		// The programs as they are shipped: hundreds with the race detector would take gigabytes.
		p := m.Start(t, harness.ProxyOptions{Addr: addr, Shipped: true})
		manySessions(t, p, sessions)
		p.Idle(t)
	})
}

func manySessions(t *testing.T, p *harness.Proxy, sessions int) {
	runners := make([]*transcript.Runner, sessions)
	scripts := func(i int) (string, []*transcript.Script) {
		if i%2 == 0 {
			return "IMAP", transcript.MustParse(t, fmt.Sprintf(`
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
		return "POP3", transcript.MustParse(t, fmt.Sprintf(`
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
			port, script := scripts(i)
			if phase == 0 {
				runners[i] = harness.Dial(t, p.At(port))
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
	for _, r := range runners {
		r.Conn.Close()
	}
}
