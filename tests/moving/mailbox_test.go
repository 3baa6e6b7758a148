package moving

import (
	"bufio"
	"errors"
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

// imapFrom is imap from this address. A login comes again, as those of programs do, when the machine is so
// slow that it takes longer than LOGIN_TIMEOUT.
func imapFrom(t *testing.T, own, addr, user string, commands ...string) string {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(own)}, Timeout: harness.Patience}
	var c *dialogue
	var answer string
	var err error
	if !harness.Eventually(func() bool {
		var conn net.Conn
		if conn, err = dialer.Dial("tcp", addr); err != nil {
			return false
		}
		c = &dialogue{Conn: conn, r: bufio.NewReader(conn)}
		if answer, err = c.say(fmt.Sprintf("LOGIN %s %s", user, secret)); err != nil {
			conn.Close()
		}
		return err == nil
	}) {
		t.Fatalf("%s: %v\n%s", addr, err, answer)
	}
	defer c.Close()
	var all strings.Builder
	for _, command := range commands {
		answer, err := c.say(command)
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", addr, command, err, answer)
		}
		all.WriteString(answer)
	}
	return all.String()
}

// dialogue is a connection to an IMAP server.
type dialogue struct {
	net.Conn
	r *bufio.Reader
}

// say says a command and returns all that is answered; the error is that it was not carried out.
func (d *dialogue) say(command string) (string, error) {
	_ = d.SetDeadline(time.Now().Add(2 * harness.Patience))
	if _, err := d.Write([]byte("a " + command + "\r\n")); err != nil {
		return "", err
	}
	var all strings.Builder
	for {
		line, err := d.r.ReadString('\n')
		all.WriteString(line)
		switch {
		case err != nil:
			return all.String(), err
		case strings.HasPrefix(line, "a OK"):
			return all.String(), nil
		case strings.HasPrefix(line, "a "):
			return all.String(), errors.New("not carried out")
		}
	}
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
	text := imapFrom(t, own, addr, user, "EXAMINE "+folder,
		"UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
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

// keeps expects that all that was seen in a folder before is still there, under its number and with its
// flags.
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
