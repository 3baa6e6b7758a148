package password

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"testing"

	"mailproxy/authlib"
)

// cheap are hashes whose costs Hash takes over, for schemes whose own costs are high.
var cheap = map[string]string{
	"$2a$":       "$2a$04$CCCCCCCCCCCCCCCCCCCCC.4K7",
	"$2b$":       "$2b$04$CCCCCCCCCCCCCCCCCCCCC.4K7",
	"$2y$":       "$2y$04$CCCCCCCCCCCCCCCCCCCCC.4K7",
	"$7$":        "$7$66..../....SodiumChloride$KnaT",
	"$y$":        "$y$j75$F5Jx5fExrKuPp53xLKQ..1$l5Yi",
	"$argon2d$":  "$argon2d$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAA",
	"$argon2i$":  "$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAA",
	"$argon2id$": "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAA",
}

// newHashes are one hash of each scheme that [Hash] makes, of the password "secret".
func newHashes(t *testing.T) map[string]string {
	t.Helper()
	hashes := make(map[string]string)
	names := []string{"{des-crypt}"}
	for _, s := range crypts() {
		names = append(names, s.name)
	}
	for name := range named() {
		names = append(names, name)
	}
	for _, name := range names {
		hash, err := Hash(cmp.Or(cheap[name], name), "secret")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		hashes[name] = hash
	}
	return hashes
}

// TestLongPasswords: the time that a hash takes must not grow with what a stranger sends.
func TestLongPasswords(t *testing.T) {
	for scheme, hash := range newHashes(t) {
		long := strings.Repeat("x", MaxLength+1)
		f, err := find(hash)
		if err != nil {
			t.Fatalf("%s: %v", scheme, err)
		}
		right, err := f.hash(f.stored, long)
		if err != nil {
			t.Fatalf("%s: %v", scheme, err)
		}
		// It is the hash of that password, which Verify would find out if it computed it.
		if ok, err := Verify(f.before+f.encode(right), long); ok || err != nil {
			t.Errorf("%s: Verify: %v, %v", scheme, ok, err)
		}
		if err := Check(t.Context(), "ann", hash, long); err != authlib.ErrRefused {
			t.Errorf("%s: Check: %v", scheme, err)
		}
		if made, err := Hash(hash, long); made != "" || err != ErrTooLong {
			t.Errorf("%s: Hash = %q, %v", scheme, made, err)
		}
		if strings.HasPrefix(hash, "$2") {
			continue // takes 72 bytes at most
		}
		whole := long[:MaxLength]
		hash, err := Hash(hash, whole)
		if err != nil {
			t.Errorf("%s: %v", scheme, err)
			continue
		}
		if ok, err := Verify(hash, whole); !ok || err != nil {
			t.Errorf("%s: %d bytes: %v, %v", scheme, MaxLength, ok, err)
		}
	}
}

// TestSlow: which schemes are made to take time.
func TestSlow(t *testing.T) {
	for name, hash := range newHashes(t) {
		slow := strings.HasPrefix(name, "$") && name != "$1$" || name == "{pbkdf2}" ||
			strings.HasPrefix(name, "{scram")
		if Slow(hash) != slow {
			t.Errorf("%s: slow is %v", name, !slow)
		}
		if strings.HasPrefix(name, "$") && Slow("{CRYPT}"+hash) != slow {
			t.Errorf("{CRYPT}%s: slow is %v", name, !slow)
		}
	}
	for _, hash := range []string{"", "!", "{FOO}x", "$9$x", "{SHA}"} {
		if Slow(hash) {
			t.Errorf("%q is slow", hash)
		}
	}
}

// TestVerifier: it is asked in the place of Verify, and not about locked accounts.
func TestVerifier(t *testing.T) {
	busy := errors.New("busy")
	asked := ""
	ctx := WithVerifier(t.Context(), func(_ context.Context, hash, clear string) (bool, error) {
		asked += hash + clear
		if clear == "later" {
			return false, busy
		}
		return clear == "yes", nil
	})
	for clear, want := range map[string]error{"yes": nil, "no": authlib.ErrRefused, "later": busy} {
		asked = ""
		if err := Check(ctx, "ann", "{SHA}x", clear); err != want || asked != "{SHA}x"+clear {
			t.Errorf("%s: %v, asked %q", clear, err, asked)
		}
	}
	asked = ""
	if err := Check(ctx, "ann", "!x", "yes"); err != authlib.ErrRefused || asked != "" {
		t.Errorf("locked: %v, asked %q", err, asked)
	}
}

func TestCheck(t *testing.T) {
	sha, err := Hash("{SHA}", "secret")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ hash, clear, want string }{
		{sha, "secret", "<nil>"}, {sha, "Secret", "refused"}, {sha, "", "refused"},
		{"", "", "refused"}, {"!", "!", "refused"}, {"*", "x", "refused"}, {"!!" + sha, "secret",
			"refused"}, {"*LK*", "x", "refused"},
		{"{CRYPT}!$1$x$y", "x", "refused"}, {"{SHA}*", "x", "refused"}, {"{CRYPT}", "", "refused"}, {"{}", "",
			"refused"},
		{"{FOO}secret", "secret", `account "ann" cannot be used: unknown password scheme {FOO}`},
		{"secret", "secret", `account "ann" cannot be used: unknown password scheme (none)`},
		{"{SHA}x", "x", `account "ann" cannot be used: damaged password hash of scheme {SHA}`},
		{"{x", "x", `account "ann" cannot be used: unknown password scheme { without }`},
	} {
		err := Check(t.Context(), "ann", test.hash, test.clear)
		got := "<nil>"
		var unusable *authlib.AccountError
		switch {
		case err == authlib.ErrRefused:
			got = "refused"
		case errors.As(err, &unusable):
			got = err.Error()
		case err != nil:
			t.Errorf("%q: %v", test.hash, err)
		}
		if got != test.want {
			t.Errorf("Check(%q, %q): %s, want %s", test.hash, test.clear, got, test.want)
		}
	}
}
