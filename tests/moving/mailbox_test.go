package moving

import (
	"bufio"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// mailbox is what an IMAP session sees of a folder.
type mailbox struct {
	validity string
	messages map[string]message // by subject
	subjects []string           // of all messages; one that is there twice is here twice
}

type message struct{ uid, flags string }

// imap logs in at addr, says the commands, and returns all that was answered.
func imap(t *testing.T, addr, user string, commands ...string) string {
	t.Helper()
	return imapFrom(t, "127.0.0.1", addr, user, commands...)
}

// imapFrom is imap from this address.
func imapFrom(t *testing.T, own, addr, user string, commands ...string) string {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(own)}, Timeout: harness.Patience}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * harness.Patience))
	var all strings.Builder
	r := bufio.NewReader(conn)
	for _, command := range append([]string{fmt.Sprintf("LOGIN %s %s", user, secret)}, commands...) {
		if _, err := conn.Write([]byte("a " + command + "\r\n")); err != nil {
			t.Fatal(err)
		}
		for line := ""; !strings.HasPrefix(line, "a "); {
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatalf("%s %s: %v\n%s", addr, command, err, all.String())
			}
			all.WriteString(line)
			if strings.HasPrefix(line, "a ") && !strings.HasPrefix(line, "a OK") {
				t.Fatalf("%s %s: %s", addr, command, line)
			}
		}
	}
	return all.String()
}

var (
	uidValidity = regexp.MustCompile(`\[UIDVALIDITY (\d+)\]`)
	fetched     = regexp.MustCompile(`(?s)\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\).*?\r\nSubject: (.*?)\r\n`)
)

// look reads a folder.
func look(t *testing.T, addr, user, folder string) mailbox {
	t.Helper()
	return lookFrom(t, "127.0.0.1", addr, user, folder)
}

func lookFrom(t *testing.T, own, addr, user, folder string) mailbox {
	t.Helper()
	text := imapFrom(t, own, addr, user, "EXAMINE "+folder, "UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
	validity := uidValidity.FindStringSubmatch(text)
	if validity == nil {
		t.Fatalf("no UIDVALIDITY in %s", text)
	}
	m := mailbox{validity: validity[1], messages: map[string]message{}}
	for _, f := range fetched.FindAllStringSubmatch(text, -1) {
		flags := slices.DeleteFunc(strings.Fields(f[2]), func(flag string) bool { return flag == `\Recent` })
		slices.Sort(flags)
		m.messages[f[3]] = message{f[1], strings.Join(flags, " ")}
		m.subjects = append(m.subjects, f[3])
	}
	return m
}

// keeps expects that all that was seen in a folder before is still there, under its number and with its flags.
func (m mailbox) keeps(t *testing.T, before mailbox) {
	t.Helper()
	if m.validity != before.validity {
		t.Errorf("UIDVALIDITY %s, it was %s", m.validity, before.validity)
	}
	for subject, want := range before.messages {
		if got := m.messages[subject]; got != want {
			t.Errorf("%s: %+v, it was %+v", subject, got, want)
		}
	}
}

// once expects each of the subjects once.
func once(t *testing.T, where string, got, want []string) {
	t.Helper()
	times := map[string]int{}
	for _, subject := range got {
		times[subject]++
	}
	for _, subject := range want {
		if times[subject] != 1 {
			t.Errorf("%s: %q is there %d times", where, subject, times[subject])
		}
	}
}
