package clients

import (
	"strings"
	"testing"
)

// curl reads one message a run, so it asks for their numbers first. Credentials come from a file: a colon
// in a user name or a password would not survive -u.
func curl(t testing.TB, dir string, s Server, args ...string) (string, error) {
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	user := configure(t, dir, "curlrc", `user = "`+quote.Replace(s.User+":"+s.Password)+`"`+"\n")
	args = append([]string{"-sS", "-K", user}, args...)
	if s.TLS != "" {
		args = append(args, "--ssl-reqd", "--cacert", s.Trust)
	}
	return run(dir, "", "curl", args...)
}

func curlIMAP(t testing.TB, dir string, s Server) (string, error) {
	found, err := curl(t, dir, s, s.url("imap", s.IMAP)+"/INBOX", "-X", "SEARCH ALL")
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, number := range strings.Fields(strings.TrimPrefix(strings.TrimSpace(found), "* SEARCH")) {
		text, err := curl(t, dir, s, s.url("imap", s.IMAP)+"/INBOX;MAILINDEX="+number)
		if err != nil {
			return "", err
		}
		all.WriteString(text)
	}
	return all.String(), nil
}

func curlPOP3(t testing.TB, dir string, s Server) (string, error) {
	list, err := curl(t, dir, s, s.url("pop3", s.POP3)+"/")
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for line := range strings.Lines(list) {
		number, _, _ := strings.Cut(line, " ")
		text, err := curl(t, dir, s, s.url("pop3", s.POP3)+"/"+number)
		if err != nil {
			return "", err
		}
		all.WriteString(text)
	}
	return all.String(), nil
}
