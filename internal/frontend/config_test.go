package frontend

import (
	"testing"

	"mailproxy/internal/config"
	"mailproxy/internal/login"
)

var imap = Protocol{Codes: login.IMAP(), Name: "IMAP", Service: "imap", Port: "143", TLSPort: "993", TLSWord: "starttls", NonBlocking: true}
var pop3 = Protocol{Codes: login.POP3(), Name: "POP3", Service: "pop3", Port: "110", TLSPort: "995", TLSWord: "stls"}

func TestLoginName(t *testing.T) {
	for _, test := range []struct{ domain, sep, user, want string }{
		{"", "", "bob", "bob"},
		{"", "@", "bob", "bob"},
		{"@example.com", "", "bob", "bob@example.com"},
		{"@example.com", "", "bob@example.org", "bob@example.org"},
		{"@example.com", "", "bob%example.org", "bob%example.org@example.com"},
		{"@example.com", "@%", "bob%example.org", "bob%example.org"},
		{"%example.com", "", "bob@x", "bob@x%example.com"},
		{"@example.com", "@", "@", "@"},
	} {
		c, err := config.Load(nil, []string{"DEFDOMAIN=" + test.domain, "DOMAINSEP=" + test.sep}, config.IMAP)
		if err != nil {
			t.Fatal(err)
		}
		if got := loginName(c, test.user); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}
