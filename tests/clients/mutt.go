package clients

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// mutt copies the INBOX into an mbox file. It is a program for people: it gets a terminal, and the keys that
// somebody would press from its configuration. With -z it ends by itself when it cannot log in or there is no
// message.
func mutt(t testing.TB, dir string, s Server) (string, error) {
	got := filepath.Join(dir, "got")
	config := configure(t, dir, "muttrc", fmt.Sprintf(`set imap_user=%s imap_pass=%s
%s
set folder="%s" mbox_type=mbox confirmappend=no confirmcreate=no move=no quit=yes wait_key=no sleep_time=0
push "<tag-pattern>~A<enter><tag-prefix><copy-message><kill-line>%s<enter><quit>"
`, muttQuote(s.User), muttQuote(s.Password), s.muttTLS(), dir, got))
	scheme := "imap"
	if s.TLS == FromStart {
		scheme = "imaps"
	}
	command := fmt.Sprintf("TERM=vt100 exec mutt -n -F %s -z -f %s://%s/INBOX", config, scheme, s.IMAP)
	if out, err := run(dir, "", "script", "-qec", command, "/dev/null"); err != nil {
		return out, err
	}
	return texts(t, dir), nil
}

func muttQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", `$`, `\$`).Replace(s) + `"`
}
