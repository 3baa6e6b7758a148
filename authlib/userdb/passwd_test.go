package userdb

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
)

func change(m *Module, service, user, old, new string) error {
	return m.ChangePassword(context.Background(), &authlib.PasswordRequest{Service: service, User: user,
		OldPassword: old, NewPassword: new})
}

// TestLocked: changes of passwords wait for a lock that nobody lets go of neither for ever nor in any number,
// for each keeps one of authdaemond's places.
func TestLocked(t *testing.T) { synctest.Test(t, testLocked) }

func testLocked(t *testing.T) {
	m, path := install(t, false, Config{})
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var turnedAway, timedOut atomic.Int32
	began := time.Now()
	for range maxChanges + 5 {
		wg.Go(func() {
			switch err := change(m, "imap", "sha", "secret", "new"); {
			case errors.Is(err, context.DeadlineExceeded) && strings.Contains(err.Error(), ".lock.userdb"):
				timedOut.Add(1)
			case err != nil && strings.Contains(err.Error(), "wait already"):
				turnedAway.Add(1)
			default:
				t.Errorf("locked: %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); turnedAway.Load() != 5 || timedOut.Load() != maxChanges || took != lockTime {
		t.Errorf("%d turned away, %d timed out after %v", turnedAway.Load(), timedOut.Load(), took)
	}
	unlock()
	if err := change(m, "imap", "sha", "secret", "new"); err != nil {
		t.Errorf("unlocked: %v", err)
	}
}

func TestChangePassword(t *testing.T) {
	m, path := install(t, false, Config{})
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ service, user, old, hash string }{
		{"imap", "a@x.org", "secret", "$1$"},
		{"imap", "svc", "imapsecret", "$1$"},
		{"pop3", "svc", "secret", "$1$"},
		{"imap", "sha", "secret", "$1$"},
		{"imap", "des", "secret", "$1$"},
		// Courier makes them $1$; stronger ones stay what they are.
		{"imap", "six", "secret", "$6$"},
		{"imap", "yes", "secret", "$y$"},
		{"imap", "with space", "secret", "$1$"},
	} {
		if err := change(m, test.service, test.user, test.old+"x", "new"); err != authlib.ErrRefused {
			t.Errorf("%s: wrong old password: %v", test.user, err)
		}
		if err := change(m, test.service, test.user, test.old, "nëw pw"); err != nil {
			t.Errorf("%s: %v", test.user, err)
		}
		if got := login(m, test.service, test.user, "nëw pw"); !strings.Contains(got, "hash="+test.hash) {
			t.Errorf("%s %s: new password: %s", test.service, test.user, got)
		}
		if got := login(m, test.service, test.user, test.old); got != "refused" {
			t.Errorf("%s %s: old password: %s", test.service, test.user, got)
		}
	}
	r, err := m.find("a@x.org")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range cramTypes {
		if got, _ := r.get(cramField(kind)); got != password.CRAMSecret("nëw pw", kind) {
			t.Errorf("%s did not follow the password: %s", kind, got)
		}
	}
	// svc's CRAM secret is one for imap, and not of the password for imap.
	if r, _ := m.find("svc"); strings.Count(string(r), password.CRAMSecret("secret", authlib.AuthCRAMMD5)) != 1 {
		t.Error("svc: the CRAM secret for imap followed the password for pop3")
	}
	for _, user := range []string{"nobody", "", "# comment", "a@x.org\tuid"} {
		if err := change(m, "imap", user, "secret", "new"); err == nil {
			t.Errorf("%q has a new password", user)
		}
	}
	if err := change(m, "imap", "sha", "nëw pw", "evil|uid=0"); err != nil {
		t.Error(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, a := strings.Split(string(before), "\n"), strings.Split(string(after), "\n")
	if len(b) != len(a) {
		t.Fatalf("%d lines became %d", len(b), len(a))
	}
	changed := 0
	for i := range b {
		if b[i] != a[i] {
			changed++
		}
	}
	if changed != 7 {
		t.Errorf("%d lines changed, want 7", changed)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	left, err := filepath.Glob(filepath.Dir(path) + "/.tmp*")
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestChangePasswordDat(t *testing.T) {
	var lines []string
	m, path := install(t, true,
		Config{makeUserDB: "/usr/sbin/makeuserdb", Log: func(l string) { lines = append(lines, l) }})
	if err := change(m, "imap", "sha", "secret", "new"); err != nil {
		t.Fatal(err)
	}
	if got := login(m, "imap", "sha", "new"); !strings.HasPrefix(got, "1000/1000") {
		t.Error(got)
	}
	if _, ok := m.source.(*dat); !ok || len(lines) != 0 {
		t.Errorf("makeuserdb did not run: %T, %q", m.source, lines)
	}
	// Without makeuserdb the text counts, because it is younger.
	m.config.makeUserDB = "/nonexistent/makeuserdb"
	if err := change(m, "imap", "sha", "new", "newer"); err != nil {
		t.Fatal(err)
	}
	if got := login(m, "imap", "sha", "newer"); !strings.HasPrefix(got, "1000/1000") {
		t.Error(got)
	}
	if len(lines) != 1 || !strings.Contains(lines[0], "the text file is read from now on") {
		t.Errorf("log: %q", lines)
	}
	_ = path
}

func TestChangePasswordDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "userdb")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(path+"/"+name,
			[]byte(name+"\tuid=1|gid=1|home=/h|systempw={SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := New(Config{Path: path})
	if err := change(m, "imap", "b", "secret", "new"); err != nil {
		t.Fatal(err)
	}
	if got := login(m, "imap", "b", "new"); !strings.HasPrefix(got, "1/1") {
		t.Error(got)
	}
	if got := login(m, "imap", "a", "secret"); !strings.HasPrefix(got, "1/1") {
		t.Error(got)
	}
}

func TestKeep(t *testing.T) {
	for old, want := range map[string]string{
		"$6$x$y": "$6$x$y", "{SHA512-CRYPT}$6$x$y": "{SHA512-CRYPT}$6$x$y",
		"{blf-crypt}$2y$05$x": "{blf-crypt}$2y$05$x", "{PLAIN}x": "{PLAIN}x",
		"{pbkdf2.hex}00": "{pbkdf2.hex}00", "{ARGON2ID}$argon2id$x": "{ARGON2ID}$argon2id$x",
		"H6kMHNu/vsBNI": "$1$", "{SHA}x": "$1$", "$1$a$b": "$1$", "{MD5}x": "$1$", "": "$1$",
	} {
		if got := keep(old); got != want {
			t.Errorf("keep(%q) = %q, want %q", old, got, want)
		}
	}
}
