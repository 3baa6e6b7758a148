// Package clients drives real mail clients in tests: curl, fetchmail, mbsync, mpop, mutt, Python's imaplib
// and poplib.
package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// Server is the account that a client is to read.
type Server struct {
	IMAP, POP3     string // host names or addresses with port, "127.0.0.1:143"
	User, Password string
	TLS            TLS    // zero: clear text
	Trust          string // file with the certificate of the authority that the server's must be signed by
}

// Client is a real mail client, set up to read all messages and to leave them where they are.
type Client struct {
	Name     string
	Protocol string // "IMAP" or "POP3"
	// fetch runs the client and returns all the text that it got. A client that fails is an error with its
	// output.
	fetch func(t testing.TB, dir string, s Server) (string, error)
}

// All is every client there is.
func All() []Client {
	return []Client{
		{"curl-imap", "IMAP", curlIMAP},
		{"curl-pop3", "POP3", curlPOP3},
		{"fetchmail-imap", "IMAP", fetchmail("imap")},
		{"fetchmail-pop3", "POP3", fetchmail("pop3")},
		{"mbsync", "IMAP", mbsync},
		{"mpop", "POP3", mpop},
		{"mutt", "IMAP", mutt},
		{"imaplib", "IMAP", python("imaplib", imaplibProgram)},
		{"poplib", "POP3", python("poplib", poplibProgram)},
	}
}

// Subjects runs the client and returns the subjects of the messages it got, in alphabetical order.
func (c Client) Subjects(t testing.TB, s Server) ([]string, error) {
	t.Helper()
	text, err := c.fetch(t, harness.Dir(t), s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	var subjects []string
	for _, match := range subjectLine.FindAllStringSubmatch(text, -1) {
		subjects = append(subjects, match[1])
	}
	slices.Sort(subjects)
	return subjects, nil
}

var subjectLine = regexp.MustCompile(`(?m)^Subject: (.*?)\r?$`)

// run runs a client with a home of its own and a time limit, and returns its standard output.
func run(dir string, stdin string, name string, args ...string) (string, error) {
	cmd := exec.Command("/usr/bin/timeout", append([]string{"-k", "1", "60", name}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "LC_ALL=C", "USER=root",
		"FETCHMAILHOME=" + dir}
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s after %v: %w\n%s%s", name, time.Since(start).Round(time.Millisecond), err,
			errs.String(), out.String())
	}
	return out.String(), nil
}

// configure writes a client's configuration, which holds the password, and returns its path.
func configure(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// texts returns the contents of all files below the directory.
func texts(t testing.TB, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
