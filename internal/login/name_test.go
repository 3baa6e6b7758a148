package login

import (
	"errors"
	"strings"
	"testing"

	"mailproxy/authlib"
	"mailproxy/authlib/sasl"
	"mailproxy/internal/config"
)

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
		if got := (&Service{Config: c}).LoginName(test.user); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

// With LOGIN_LOWERCASE what was typed is folded before anybody is asked, by whatever command it came; the
// default domain is not.
func TestLoginLowercase(t *testing.T) {
	for want, c := range map[string]*Credentials{
		"login imap \u00e4nn@Example.com x ": password("\u00c4NN", "x"),
		"lookup imap ann@example.com ": bySASL(sasl.Credentials{
			Mechanism: "EXTERNAL", External: true, User: "Ann@Example.com"}),
		" ann@Example.com 01AB ": bySASL(sasl.Credentials{Mechanism: "CRAM-MD5", Type: authlib.AuthCRAMMD5,
			Challenge: []byte("<x@y>"), Response: []byte("Ann 01AB")}),
	} {
		w := newWorld(t, imap, "LOGIN_LOWERCASE=1", "DEFDOMAIN=@Example.com")
		if _, err := w.Login(t.Context(), c); !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
		if len(w.auth.Asked) != 1 || !strings.Contains(w.auth.Asked[0], want) {
			t.Errorf("asked %q, want %q", w.auth.Asked, want)
		}
	}
}
