package moving

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// initial is how many messages the INBOX has at first.
const initial = 12

// fill makes the mailbox at the old server, with flags and another folder.
func (v *move) fill(t *testing.T) {
	t.Helper()
	commands := []string{"CREATE Work", "SUBSCRIBE Work"}
	for n := range initial {
		text := strings.ReplaceAll(harness.Message(fmt.Sprint("start ", n+1)), "\n", "\r\n")
		commands = append(commands, fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(text), text))
	}
	commands = append(commands, "SELECT INBOX", `UID STORE 1:3 +FLAGS (\Seen)`,
		`UID STORE 2 +FLAGS ($Forwarded)`,
		"UID COPY 1 Work")
	imap(t, v.from.Addr+":143", v.user, commands...)
}

// route is the mail server's table with this host.
func (v *move) route(t *testing.T, addr string) string {
	t.Helper()
	at := *v
	for _, server := range []*harness.DovecotServer{v.from, v.to} {
		if server.Addr == addr {
			at.to = server
		}
	}
	return at.text(t, "transport deliver")
}

// move goes by the page.
func (v *move) move(t *testing.T) {
	t.Helper()
	for _, s := range v.sessions {
		s.wait(t, 1, 0)
	}
	v.run(t, "sh copy")
	v.work(t)
	v.run(t, "sh hold")
	began, held := time.Now(), v.heldLogins()
	v.mail.route(v.text(t, "transport keep"))
	v.run(t, "sh wait")
	v.mail.settled(t, v.from.Addr)
	if v.proxy.Control() != nil {
		v.who(t, v.from, true)
		v.run(t, "sh kick")
		v.who(t, v.from, false)
	}
	v.run(t, "sh kick-old")
	atOld := v.loginsAt(v.from)
	inbox, work := v.direct(t, v.from, "INBOX"), v.direct(t, v.from, "Work")
	v.run(t, "sh copy")
	if out := v.run(t, "sh compare"); out != "" {
		t.Errorf("at the old server only:\n%s", out)
	}
	logins := v.wait(t, held)
	v.run(t, "sh change")
	v.held = max(v.held, time.Since(began))
	v.mail.route(v.route(t, v.to.Addr))
	for i, s := range v.sessions {
		s.wait(t, logins[i]+1, 0)
		if v.hold == longHold {
			v.proxy.Log(s.protocol).Wait(t, "LOGIN RELEASED, user="+v.user+", ")
		}
	}
	if v.proxy.Control() != nil {
		v.who(t, v.to, true)
	}
	if out := v.run(t, "sh look"); !strings.Contains(out, v.to.Addr) {
		t.Errorf("imapd-proxy check:\n%s", out)
	}
	look(t, v.proxy.At("IMAP"), v.user, "INBOX").keeps(t, inbox)
	look(t, v.proxy.At("IMAP"), v.user, "Work").keeps(t, work)
	if n := v.loginsAt(v.from); n != atOld {
		t.Errorf("%d logins at the old server after its sessions had been ended", n-atOld)
	}
}

// work is what the user does after the first copy: one message gets a flag, one goes, one moves.
func (v *move) work(t *testing.T) {
	t.Helper()
	had := look(t, v.proxy.At("IMAP"), v.user, "INBOX")
	var uids []any
	for n := initial; len(uids) < 3; n-- {
		if m, is := had.messages[fmt.Sprint("start ", n)]; is {
			uids = append(uids, m.uid)
		}
	}
	imap(t, v.proxy.At("IMAP"), v.user, "SELECT INBOX", fmt.Sprintf(`UID STORE %s +FLAGS (\Flagged)`, uids[2]),
		fmt.Sprintf(`UID STORE %s +FLAGS (\Deleted)`, uids[0]), "EXPUNGE", fmt.Sprintf(`UID MOVE %s Work`, uids[1]))
	v.gone += 2
}

// heldLogins counts the logins that waited, by session.
func (v *move) heldLogins() []int {
	var n []int
	for _, s := range v.sessions {
		n = append(n, len(v.proxy.Log(s.protocol).Find("LOGIN HELD, user="+v.user+", ")))
	}
	return n
}

// wait waits until the sessions that were ended are held, or have been told to come later, and returns how
// often they were in so far.
func (v *move) wait(t *testing.T, held []int) []int {
	t.Helper()
	if !harness.Eventually(func() bool {
		for i, n := range v.heldLogins() {
			if n <= held[i] {
				return false
			}
		}
		return true
	}) {
		t.Fatalf("no login is held:\n%s", v.proxy.Log("IMAP"))
	}
	var logins []int
	for _, s := range v.sessions {
		if v.hold != longHold {
			s.wait(t, 1, 1)
		}
		s.note(func() { logins = append(logins, s.logins) })
	}
	return logins
}

// who expects that the account has sessions of both protocols at a server, or none at all.
func (v *move) who(t *testing.T, at *harness.DovecotServer, there bool) {
	t.Helper()
	var text string
	if !harness.Eventually(func() bool {
		out, err := exec.Command(v.commands+"/mailproxyctl", "-json", "who").Output()
		if err != nil {
			t.Fatal(err)
		}
		text = string(out)
		var who struct {
			Sessions []struct{ User, Protocol, Mailhost string }
		}
		if err := json.Unmarshal([]byte(text), &who); err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		found, all := map[string]bool{}, 0
		for _, s := range who.Sessions {
			if s.User == v.user {
				found[s.Protocol] = found[s.Protocol] || s.Mailhost == at.Addr
				all++
			}
		}
		return there && found["IMAP"] && found["POP3"] || !there && all == 0
	}) {
		t.Fatalf("sessions of %s at %s, which should be so: %v\n%s", v.user, at.Addr, there, text)
	}
}

// loginsAt counts the account's logins by the proxy at a server.
func (v *move) loginsAt(server *harness.DovecotServer) int {
	return len(server.Log.Find("Login: user=<" + v.user + ">.*, rip=127.0.0.1,"))
}

// direct reads a folder at a server, past the proxy and from another address.
func (v *move) direct(t *testing.T, server *harness.DovecotServer, folder string) mailbox {
	t.Helper()
	return lookFrom(t, "127.0.0.99", server.Addr+":143", v.user, folder)
}

// tooLate has a message delivered to the server that the account has left, and copies it.
func (v *move) tooLate(t *testing.T) {
	t.Helper()
	before := look(t, v.proxy.At("IMAP"), v.user, "INBOX")
	if err := deliver(v.from, v.user, "too late"); err != nil {
		t.Fatal(err)
	}
	v.run(t, "sh copy")
	now := look(t, v.proxy.At("IMAP"), v.user, "INBOX")
	once(t, "INBOX", now.subjects, append(before.subjects, "too late"))
	if len(now.subjects) != len(before.subjects)+1 {
		t.Errorf("%d messages, not %d and one", len(now.subjects), len(before.subjects))
	}
}
