package login

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"mailproxy/tests/logintest"
)

// Where accounts may be sent: by name, by pattern, by network.
func TestMailhostAllowed(t *testing.T) {
	for _, test := range []struct {
		list, mailhost string
		want           string // the address that is tried; empty = none
		last           string // the mailhost that the log names
	}{
		{"", "anywhere", "192.0.2.1:143", ""},
		{"anywhere", "ANYWHERE.", "192.0.2.1:143", ""},
		{"*.example.com", "a.example.com", "192.0.2.2:143", ""},
		{"*.example.com", "anywhere", "", "anywhere"},
		{"*.example.com", "192.0.2.2", "", "192.0.2.2"},
		{"192.0.2.0/30", "anywhere", "192.0.2.1:143", ""},
		{"192.0.2.0/30", "192.0.2.3:1143", "192.0.2.3:1143", ""},
		{"192.0.2.0/30", "[2001:db8::1]:143", "", "[2001:db8::1]:143"},
		{"192.0.2.4/30", "anywhere", "", "anywhere"},
		{"192.0.2.4/30 both", "both", "192.0.2.1:143", ""},
		{"192.0.2.4/30", "both", "192.0.2.5:143", ""},
		{"*.example.com, 192.0.2.4/30", "elsewhere;anywhere;a.example.com", "192.0.2.2:143", "anywhere"},
		{"other", "anywhere;elsewhere", "", "elsewhere"},
		{"other", "proxy.example.com", "here", ""},
	} {
		w := newWorld(t, imap, "IMAP_PROXY=1", "PROXY_MAILHOSTS="+test.list)
		w.auth.Add("bob", "mailhost="+test.mailhost)
		w.Peer.LocalIP = "198.51.100.9" // not a mailhost's
		w.Hosts = map[string][]string{
			"anywhere": {"192.0.2.1"}, "ANYWHERE.": {"192.0.2.1"}, "a.example.com": {"192.0.2.2"},
			"both":      {"192.0.2.1", "192.0.2.5"},
			"elsewhere": {"198.51.100.1"},
		}
		for _, addr := range []string{"192.0.2.1:143", "192.0.2.2:143", "192.0.2.3:1143", "192.0.2.5:143"} {
			w.Servers[addr] = logintest.Says(nil)
		}
		o, err := w.Login(t.Context(), password("bob", "secret"))
		switch {
		case test.want == "here":
			if err != nil || o.Mailhost != nil || len(w.Dialed) != 0 {
				t.Errorf("%+v: %v, dialed %v", test, err, w.Dialed)
			}
		case test.want == "":
			if !errors.Is(err, ErrTemporary) || len(w.Dialed) != 0 {
				t.Errorf("%+v: %v, dialed %v", test, err, w.Dialed)
			}
		case err != nil || !slices.Equal(w.Dialed, []string{test.want}):
			t.Errorf("%+v: %v, dialed %v", test, err, w.Dialed)
		}
		want := "WARN: account bob is not sent to mailhost " + test.last +
			": PROXY_MAILHOSTS does not allow this mailhost\n"
		if log := w.log.String(); test.last != "" && !strings.HasSuffix(log, want) || test.last == "" && log != "" {
			t.Errorf("%+v: log\n%swant\n%s", test, log, want)
		}
	}
}

// Without a list of networks nobody asks the name servers about a name that an account database has chosen.
func TestMailhostNotResolved(t *testing.T) {
	w := newWorld(t, imap, "IMAP_PROXY=1", "PROXY_MAILHOSTS=*.example.com")
	w.auth.Add("bob", "mailhost=secret.evil.example")
	w.Login(t.Context(), password("bob", "secret"))
	w.wantLog(t, "WARN: account bob is not sent to mailhost secret.evil.example: PROXY_MAILHOSTS does not "+
		"allow this mailhost")
}
