package moving

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/tests/clients"
	"mailproxy/tests/harness"
)

// again is how soon a client comes back that was turned away or has lost its connection.
const again = 600 * time.Millisecond

// session is a client that stays logged in, and comes back by itself when it cannot.
type session struct {
	protocol, addr, user string

	mu       sync.Mutex
	logins   int
	later    int      // how often it was told to come later
	problems []string // anything else that it was told
}

// How a login is told to come later: because the account is held, or because a server was too slow.
var (
	held = regexp.MustCompile(`^(NO \[INUSE\]|-ERR \[IN-USE\])`)
	slow = regexp.MustCompile(`^(NO \[UNAVAILABLE\]|-ERR \[SYS/TEMP\])`)
)

// stay keeps the session until the context ends.
func (s *session) stay(ctx context.Context) {
	for ctx.Err() == nil {
		s.once(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// once logs in, and stays until the connection ends.
func (s *session) once(ctx context.Context) {
	conn, err := net.DialTimeout("tcp", s.addr, harness.Patience)
	if err != nil {
		s.note(func() { s.problems = append(s.problems, err.Error()) })
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r := bufio.NewReader(conn)
	ask := func(command, final string) (string, error) {
		_ = conn.SetDeadline(time.Now().Add(2 * harness.Patience))
		if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
			return "", err
		}
		for {
			line, err := r.ReadString('\n')
			if err != nil || strings.HasPrefix(line, final) {
				return strings.TrimSpace(strings.TrimPrefix(line, final)), err
			}
		}
	}
	login, final, noop := []string{fmt.Sprintf("a LOGIN %s %s", s.user, secret)}, "a ", "a NOOP"
	if s.protocol == "POP3" {
		login, final, noop = []string{"USER " + s.user, "PASS " + secret}, "", "NOOP"
	}
	answer, err := r.ReadString('\n')
	for _, command := range login {
		if err == nil {
			answer, err = ask(command, final)
		}
	}
	switch {
	case err != nil:
		return // it has lost the connection
	case held.MatchString(answer):
		s.note(func() { s.later++ })
		return
	case slow.MatchString(answer):
		return
	case !strings.HasPrefix(strings.TrimPrefix(answer, "+"), "OK"):
		s.note(func() { s.problems = append(s.problems, answer) })
		return
	}
	s.note(func() { s.logins++ })
	for err == nil && ctx.Err() == nil {
		time.Sleep(again)
		_, err = ask(noop, final)
	}
}

func (s *session) note(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// wait waits until the session has this many logins, and was told to come later this often.
func (s *session) wait(t *testing.T, logins, later int) {
	t.Helper()
	if !harness.Eventually(func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.logins >= logins && s.later >= later
	}) {
		t.Fatalf("%s: %d logins, %d times later", s.protocol, s.logins, s.later)
	}
}

// fetcher is a program that fetches new messages again and again, into a maildir that it keeps.
type fetcher struct {
	name, maildir string
	command       []string

	mu       sync.Mutex
	runs     int // those that went well
	problems []string
}

func newMbsync(t *testing.T, addr, user string) *fetcher {
	dir := harness.Dir(t)
	config := filepath.Join(dir, "mbsyncrc")
	harness.WriteFile(t, config,
		clients.MbsyncConfig(clients.Server{IMAP: addr, User: user, Password: secret}, dir), 0o600)
	return &fetcher{name: "mbsync", maildir: filepath.Join(dir, "INBOX"),
		command: []string{"mbsync", "-q", "-c", config, "-a"}}
}

func newMpop(t *testing.T, addr, user string) *fetcher {
	dir := harness.Dir(t)
	host, port, _ := net.SplitHostPort(addr)
	config, maildir := filepath.Join(dir, "mpoprc"), filepath.Join(dir, "got")
	for _, name := range []string{"", "new", "cur", "tmp"} {
		if err := os.Mkdir(filepath.Join(maildir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	harness.WriteFile(t, config, fmt.Sprintf("account a\nhost %s\nport %s\nuser %s\npassword %s\nauth user\n"+
		"tls off\nkeep on\nuidls_file %s/uidls\ndelivery maildir %s\n",
		host, port, user, secret, dir, maildir), 0o600)
	return &fetcher{name: "mpop", maildir: maildir, command: []string{"mpop", "-q", "-C", config, "a"}}
}

// What a program shows of a refusal, and of one that means later.
var (
	refused = regexp.MustCompile(`\bNO |-ERR`)
	later   = regexp.MustCompile(`\[(IN-?USE|UNAVAILABLE|SYS/TEMP)\]`)
)

// stay runs the program until the context ends.
func (f *fetcher) stay(ctx context.Context) {
	for ctx.Err() == nil {
		cmd := exec.Command(f.command[0], f.command[1:]...)
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + filepath.Dir(f.maildir), "LC_ALL=C", "USER=root"}
		out, err := cmd.CombinedOutput()
		f.mu.Lock()
		switch exit := new(exec.ExitError); {
		case err == nil:
			f.runs++
		case !errors.As(err, &exit), refused.Match(out) && !later.Match(out):
			f.problems = append(f.problems, fmt.Sprintf("%v: %s", err, out))
		}
		f.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// wait waits until it has fetched all of these messages.
func (f *fetcher) wait(t *testing.T, want []string) {
	t.Helper()
	if !harness.Eventually(func() bool {
		has := map[string]bool{}
		for _, subject := range f.subjects(t) {
			has[subject] = true
		}
		for _, subject := range want {
			if !has[subject] {
				return false
			}
		}
		return true
	}) {
		t.Errorf("%s does not get all messages", f.name)
	}
}

// subjects are those of the messages that it has fetched.
func (f *fetcher) subjects(t *testing.T) []string {
	t.Helper()
	var subjects []string
	for _, name := range []string{"new", "cur"} {
		files, err := filepath.Glob(filepath.Join(f.maildir, name, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if errors.Is(err, os.ErrNotExist) {
				continue // it has been renamed
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range subjectLine.FindAllStringSubmatch(string(text), -1) {
				subjects = append(subjects, found[1])
			}
		}
	}
	return subjects
}

var subjectLine = regexp.MustCompile(`(?m)^Subject: (.*?)\r?$`)
