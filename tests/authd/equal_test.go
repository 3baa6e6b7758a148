package authd

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// accounts is the test data of authlib/userdb: all kinds of hashes, fields that are missing, twice, empty or
// not what they should be, UTF-8 and blanks, service-specific passwords, CRAM secrets, and 400 ordinary
// accounts.
func accounts(t testing.TB) string {
	t.Helper()
	text := harness.ReadFile(t, harness.Root(t)+"/authlib/userdb/testdata/userdb")
	return text
}

// both runs ask with Courier's daemon and with ours on the same files and returns what it found.
func both(t *testing.T, settings harness.Env, ask func(t *testing.T) []string) (theirs, ours []string) {
	t.Helper()
	harness.UserdbText(t, accounts(t))
	harness.Run(t, "", "/usr/sbin/makeuserdb")
	courier := harness.CourierAuthdaemond(t, "authuserdb", settings)
	theirs = ask(t)
	courier.Stop()
	harness.UserdbText(t, accounts(t))
	harness.Run(t, "", "/usr/sbin/makeuserdb")
	// Without the race detector, under which some hashes take a second. Other tests have it.
	daemon(t, harness.PlainBin(t, "authdaemond"))
	return theirs, ask(t)
}

// tolerated are the answers that differ, and why.
var tolerated = map[string]string{
	"baduid":  "Courier takes uid=abc for uid 0, root; ours is a temporary failure, and logs why",
	"root0":   "Courier lets root log in; ours does not, and logs why",
	"uidzero": "as root0",
	"nouid":   "Courier takes an account without a uid for none; ours is a temporary failure, and logs why",
	"nogid":   "as nouid",
	"nohome":  "as nouid",
}

// TestEqualAnswers asks both daemons about every account in every way and compares every field.
func TestEqualAnswers(t *testing.T) {
	var names []string
	for line := range strings.Lines(accounts(t)) {
		if name, _, ok := strings.Cut(line, "\t"); ok &&
			(!strings.HasPrefix(name, "bulk") || strings.HasPrefix(name, "bulk10")) {
			names = append(names, name)
		}
	}
	names = append(names, "nobody", "a@x.org ", "A@X.ORG", "a@x", "#", "# comment", ".", "a|b", "six=",
		"bulk1@example.org|uid=0")
	ctx := context.Background()
	theirs, ours := both(
		t,
		harness.Env{"DEFAULTOPTIONS": "wbnodsn=1,disableimap=1"},
		func(t *testing.T) []string {
			client := &authlib.Client{}
			var got []string
			add := func(a *authlib.Account, err error, format string, args ...any) {
				got = append(got, fmt.Sprintf(format, args...)+": "+harness.ShowAnswer(a, err))
			}
			for _, name := range names {
				for _, service := range []string{"imap", "pop3", "esmtp"} {
					if strings.HasPrefix(name, "bulk") && service != "imap" {
						continue
					}
					a, err := client.Lookup(ctx, &authlib.LookupRequest{Service: service, User: name})
					add(a, err, "%s PRE %s", name, service)
					for _, pw := range []string{"secret", "imapsecret", "", "wrong"} {
						a, err := client.Authenticate(ctx,
							&authlib.AuthRequest{Service: service, Type: authlib.AuthLogin, User: name, Password: pw})
						add(a, err, "%s LOGIN %s %q", name, service, pw)
					}
					if strings.HasPrefix(name, "bulk") {
						continue
					}
					for _, kind := range []authlib.AuthType{authlib.AuthCRAMMD5, authlib.AuthCRAMSHA1,
						authlib.AuthCRAMSHA256} {
						for _, pw := range []string{"secret", "wrong"} {
							req := harness.CRAMRequest(service, kind, name, pw)
							if service == "pop3" { // some clients write the digest so
								user, digest, _ := strings.Cut(string(req.Response), " ")
								req.Response = []byte(user + " " + strings.ToUpper(digest))
							}
							a, err := client.Authenticate(ctx, req)
							add(a, err, "%s %s %s %q", name, kind, service, pw)
						}
					}
				}
			}
			for _, module := range []string{"authuserdb", "authfoo"} {
				a, err := client.Lookup(ctx, &authlib.LookupRequest{Module: module, Service: "imap", User: "six"})
				add(a, err, "PRE %s", module)
			}
			var list []string
			if err := client.Enumerate(ctx, func(a *authlib.Account) error {
				list = append(list, a.Address+" listed: "+harness.ShowAnswer(a, nil))
				return nil
			}); err != nil {
				t.Error(err)
			}
			sort.Strings(list)
			return append(got, list...)
		},
	)
	compare(t, theirs, ours)
	if len(theirs) < 1000 {
		t.Errorf("only %d answers compared", len(theirs))
	}
}

// compare reports lines that differ, but for those of tolerated accounts, which must differ.
func compare(t *testing.T, theirs, ours []string) {
	t.Helper()
	split := func(lines []string) (map[string]string, []string) {
		m := make(map[string]string)
		var keys []string
		for _, line := range lines {
			key, value, _ := strings.Cut(line, ": ")
			m[key] = value
			keys = append(keys, key)
		}
		return m, keys
	}
	a, keys := split(theirs)
	b, more := split(ours)
	differs := make(map[string]bool)
	done := make(map[string]bool)
	for _, key := range append(keys, more...) {
		if a[key] == b[key] || done[key] {
			continue
		}
		done[key] = true
		name, _, _ := strings.Cut(key, " ")
		differs[name] = true
		if tolerated[name] == "" {
			t.Errorf("%s:\n Courier %s\n    ours %s", key, a[key], b[key])
		}
	}
	for name, why := range tolerated {
		if !differs[name] {
			t.Errorf("%s no longer differs: %s", name, why)
		}
	}
}

// TestEqualPasswords changes passwords with both daemons: the same ones can be changed, and work afterwards.
func TestEqualPasswords(t *testing.T) {
	ctx := context.Background()
	theirs, ours := both(t, nil, func(t *testing.T) []string {
		client := &authlib.Client{}
		var got []string
		for _, test := range []struct{ service, user, old string }{
			{"imap", "a@x.org", "secret"}, {"imap", "sys", "wrong"}, {"imap", "sys", "secret"}, {"imap", "svc",
				"imapsecret"}, {"pop3", "svc", "secret"},
			{"imap", "six", "secret"}, {"imap", "yes", "secret"}, {"imap", "sha", "secret"}, {"imap", "des",
				"secret"}, {"imap", "nopw", ""},
			{"imap", "nobody", "x"}, {"imap", "with space", "secret"}, {"imap", "ünï", "secret"}, {"pop3", "onlyimap",
				"imapsecret"},
		} {
			err := client.ChangePassword(
				ctx,
				&authlib.PasswordRequest{
					Service: test.service, User: test.user, OldPassword: test.old, NewPassword: "nëw pw",
				},
			)
			line := fmt.Sprintf("%s %s %q: refused %v, err %v", test.user, test.service, test.old,
				errors.Is(err, authlib.ErrRefused), err != nil)
			for _, pw := range []string{test.old, "nëw pw"} {
				_, err := client.Authenticate(ctx,
					&authlib.AuthRequest{Service: test.service, Type: authlib.AuthLogin, User: test.user, Password: pw})
				line += fmt.Sprintf(" %q %v", pw, err == nil)
			}
			for _, kind := range []authlib.AuthType{authlib.AuthCRAMMD5, authlib.AuthCRAMSHA256} {
				_, err := client.Authenticate(ctx, harness.CRAMRequest(test.service, kind, test.user, "nëw pw"))
				line += fmt.Sprintf(" %s %v", kind, err == nil)
			}
			got = append(got, line)
		}
		return got
	})
	for i := range theirs {
		if theirs[i] != ours[i] {
			t.Errorf("\nCourier %s\n   ours %s", theirs[i], ours[i])
		}
	}
}
