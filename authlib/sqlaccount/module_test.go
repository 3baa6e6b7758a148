package sqlaccount

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
	"mailproxy/authlib/rcfile"
)

// memory is a database that has rows for names, and remembers what was asked.
type memory struct {
	rows   map[string][][]string
	err    error
	asked  []string
	closed int
}

func mark(int) string { return "?" }

func (m *memory) Query(_ context.Context, q *Query, v *Values, row func([]string) bool) error {
	m.asked = append(m.asked, q.SQL(mark))
	if m.err != nil {
		return m.err
	}
	key := "*"
	if params := q.Params(v); len(params) > 0 {
		key = params[0].(string)
	}
	for _, r := range m.rows[key] {
		if row(slices.Clone(r)) {
			return nil
		}
	}
	return nil
}

func (m *memory) Exec(_ context.Context, q *Query, v *Values) (int64, error) {
	for _, p := range q.Params(v) {
		m.asked = append(m.asked, p.(string))
	}
	return int64(len(m.rows[v.User])), m.err
}

func (m *memory) Close() { m.closed++ }

// module returns a module over the database, with settings after those that there must be.
func module(t *testing.T, m *memory, settings ...string) *Module {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rc")
	text := "##NAME: MARKER:0\nX_USER_TABLE passwd\nX_CRYPT_PWFIELD crypt\nX_CLEAR_PWFIELD clear\n" +
		strings.Join(settings, "\n") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(*rcfile.Settings) (Backend, error) { return m, nil }
	mod := New("authx", "X_", path, PostgreSQL, nil, open, t.Logf)
	t.Cleanup(func() {
		if err := mod.Close(); err != nil || m.closed != 1 {
			t.Errorf("close: %v, closed %d times", err, m.closed)
		}
	})
	return mod
}

// outcome is an answer on one line.
func outcome(a *authlib.Account, err error) string {
	var unusable *authlib.AccountError
	switch {
	case errors.Is(err, authlib.ErrRefused):
		return "refused"
	case errors.As(err, &unusable):
		return unusable.Reason
	case err != nil:
		return "error: " + err.Error()
	}
	return fmt.Sprintf("%s %d/%d %s %s %s", a.Address, *a.UID, *a.GID, a.Home, a.ClearPassword, a.Options)
}

func login(m *Module, user, pw string) string {
	return outcome(m.Authenticate(context.Background(),
		&authlib.AuthRequest{Service: "imap", Type: authlib.AuthLogin, User: user, Password: pw}))
}

func TestAuthenticate(t *testing.T) {
	sha, err := password.Hash("{SHA}", "secret")
	if err != nil {
		t.Fatal(err)
	}
	row := func(login, crypt, clear, uid, gid, home string) []string {
		return []string{login, crypt, clear, uid, gid, home, "", "", "Ann, Office", "mailhost=h"}
	}
	db := &memory{rows: map[string][][]string{
		"ann":    {row("ann", sha, "", "5", "6", "/a")},
		"clear":  {row("clear", "", "secret", "5", "6", "/c")},
		"both":   {row("both", sha, "other", "5", "6", "/b")},
		"none":   {row("none", "", "", "5", "6", "/n")},
		"locked": {row("locked", "!"+sha, "secret", "5", "6", "/l")},
		"foo":    {row("foo", "{FOO}x", "", "5", "6", "/f")},
		"root":   {row("root", sha, "", "0", "6", "/r")},
		"minus1": {row("minus1", sha, "", "5", "4294967295", "/m")},
		"text":   {row("text", sha, "", "5001x", "6", "/t")},
		"null":   {row("null", sha, "", "", "6", "/t")},
		"nohome": {row("nohome", sha, "", "5", "6", "")},
		"twin":   {row("twin", sha, "", "5", "6", "/1"), row("twin", sha, "", "5", "6", "/2")},
		"same":   {row("same", sha, "", "5", "6", "/s"), row("same", sha, "", "5", "6", "/s")},
		"short":  {{"short", sha, "", "5", "6"}},
		"six":    {{"six", sha, "", "5", "6", "/six"}},
	}}
	m := module(t, db)
	for _, test := range []struct{ user, pw, want string }{
		{"ann", "secret", "ann 5/6 /a secret mailhost=h"}, {"ann", "wrong", "refused"}, {"ann", "", "refused"},
		{"clear", "secret", "clear 5/6 /c secret mailhost=h"}, {"clear", "wrong", "refused"},
		{"both", "secret", "both 5/6 /b secret mailhost=h"}, {"both", "other", "refused"},
		{"none", "", "refused"}, {"locked", "secret", "refused"}, {"nobody", "secret", "refused"},
		{"foo", "x", "unknown password scheme {FOO}"},
		{"root", "secret", `uid="0": not a decimal number from 1 to 4294967294`},
		{"minus1", "secret", `gid="4294967295": not a decimal number from 1 to 4294967294`},
		{"text", "secret", `uid="5001x": not a decimal number from 1 to 4294967294`},
		{"null", "secret", "no uid"}, {"nohome", "secret", "no home"},
		{"twin", "secret", "more than one row of that name"}, {"same", "secret", "same 5/6 /s secret mailhost=h"},
		{"short", "secret", "error: the query returns 5 columns, six at least are needed"},
		{"six", "secret", "six 5/6 /six secret "},
	} {
		if got := login(m, test.user, test.pw); got != test.want {
			t.Errorf("%s %q: %s, want %s", test.user, test.pw, got, test.want)
		}
	}
	for user, want := range map[string]string{
		"ann":   `neither a clear password nor a secret of this mechanism is stored: account "ann"`,
		"none":  `neither a clear password nor a secret of this mechanism is stored: account "none"`,
		"clear": "<nil>", "both": "no such account, or wrong password", "nobody": "no such account, or wrong " +
			"password",
		"locked": "<nil>", // as with Courier
	} {
		mac := hmac.New(md5.New, []byte("secret"))
		mac.Write([]byte("<1@x>"))
		_, err := m.Authenticate(t.Context(), &authlib.AuthRequest{Service: "imap", Type: authlib.AuthCRAMMD5,
			Challenge: []byte("<1@x>"), Response: fmt.Appendf(nil, "%s %x", user, mac.Sum(nil))})
		if got := fmt.Sprint(err); got != want || err != nil && !errors.Is(err, authlib.ErrRefused) {
			t.Errorf("CRAM, %s: %s, want %s", user, got, want)
		}
	}
	db.err = errors.New("down")
	if got := login(m, "ann", "secret"); got != "error: down" {
		t.Error(got)
	}
	db.err = fmt.Errorf("no such number: %w", ErrValue)
	if got := login(m, "ann", "secret"); got != "refused" {
		t.Error(got)
	}
}

// TestWrongQuery: the administrator reads where the mistake is when the file is loaded, not at a login.
func TestWrongQuery(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rc")
	for _, setting := range []string{"X_SELECT_CLAUSE", "X_ENUMERATE_CLAUSE", "X_CHPASS_CLAUSE"} {
		text := "##NAME: MARKER:0\nX_USER_TABLE t\nX_CLEAR_PWFIELD c\n" + setting + " SELECT \\\n E'$(domain)'\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var log []string
		m := New("authx", "X_", path, PostgreSQL, nil,
			func(*rcfile.Settings) (Backend, error) { return nil, errors.New("opened") },
			func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) })
		want := path + ":4: " + setting + ": " + errGlue.Error() + ": '$(domain)', character 9 of the query"
		if got := strings.Join(log, "\n"); got != want {
			t.Errorf("log %q, want %q", got, want)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDomain(t *testing.T) {
	row := func(name string) []string { return []string{name, "", "secret", "5", "6", "/x"} }
	db := &memory{rows: map[string][][]string{"ann@default.org": {row("Ann@default.org")}, "bob@": {row("Bob@")},
		"alias@x": {row("ann@x")},
		"ANN@X":   {row("ann@x")}}}
	m := module(t, db, "DEFAULT_DOMAIN default.org")
	for user, want := range map[string]string{"ann": "Ann@default.org 5/6",
		"ann@default.org": "Ann@default.org 5/6",
		"bob@":            "Bob@ 5/6", "alias@x": "alias@x 5/6", "ANN@X": "ann@x 5/6", "bob": "refused",
		"ann@other": "refused"} {
		if got := login(m, user, "secret"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", user, got, want)
		}
	}
}

func TestChangePassword(t *testing.T) {
	old, err := password.Hash("{SSHA256}", "old")
	if err != nil {
		t.Fatal(err)
	}
	db := &memory{rows: map[string][][]string{"ann": {{"ann", old, "", "5", "6", "/a"}}}}
	m := module(t, db)
	change := func(old, new string) string {
		db.asked = nil
		err := m.ChangePassword(context.Background(), &authlib.PasswordRequest{Service: "imap", User: "ann",
			OldPassword: old, NewPassword: new})
		if err != nil {
			return outcome(nil, err)
		}
		return "ok"
	}
	if got := change("wrong", "new"); got != "refused" || len(db.asked) != 1 {
		t.Errorf("wrong password: %s, %q", got, db.asked)
	}
	if got := change("old", strings.Repeat("x", password.MaxLength+1)); got != "refused" || len(db.asked) != 1 {
		t.Errorf("long password: %s, %q", got, db.asked)
	}
	if got := change("old", "new"); got != "ok" || len(db.asked) != 4 {
		t.Fatalf("%s, %q", got, db.asked)
	}
	if hash := db.asked[1]; !strings.HasPrefix(hash, "{SSHA256}") || db.asked[2] != "new" ||
		db.asked[3] != "ann" {
		t.Errorf("stored %q", db.asked[1:])
	}
}

func TestEnumerate(t *testing.T) {
	db := &memory{rows: map[string][][]string{"*": {
		{"ann", "5", "6", "/a", "M", "o=1"}, {"root", "0", "0", "/root"}, {"minus1", "5", "4294967295",
			"/m"}, {"nohome", "5", "6", ""},
		{"bob", "7", "8", "/b"},
	}}}
	m := module(t, db)
	var got []string
	err := m.Enumerate(context.Background(), func(a *authlib.Account) error {
		got = append(got, outcome(a, nil))
		return nil
	})
	if want := []string{"ann 5/6 /a  o=1", "bob 7/8 /b  "}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	enough := errors.New("enough")
	if err := m.Enumerate(context.Background(), func(*authlib.Account) error { return enough }); !errors.Is(err,
		enough) {
		t.Errorf("got %v", err)
	}
}
