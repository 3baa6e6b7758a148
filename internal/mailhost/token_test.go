package mailhost

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestRedactToken(t *testing.T) {
	const token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl"
	message := "n,a=bob,\x01auth=Bearer " + token + "\x01\x01"
	m := &Conn{User: "bob", Token: message}
	encoded := base64.StdEncoding.EncodeToString([]byte(message))
	for text, want := range map[string]string{
		"a NO [AUTHENTICATIONFAILED] Authentication failed.": "a NO [AUTHENTICATIONFAILED] Authentication failed.",
		"a BAD " + encoded:                                       "a BAD ***",
		"a BAD " + encoded[:40] + "...":                          "a BAD ***...",
		"a BAD (" + encoded[30:] + ")":                           "a BAD (***)",
		"NO token '" + token + "' has expired":                   "NO token '***' has expired",
		"NO token " + token[10:30] + "|":                         "NO token ***|",
		"NO " + token[:20] + "-" + token[30:]:                    "NO***-***",
		"NO " + base64.StdEncoding.EncodeToString([]byte(token)): "NO ***",
		"NO bob": "NO bob",
		"":       "",
	} {
		if got := m.Redact(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	short := &Conn{Token: "user=bob\x01auth=Bearer s3cret\x01\x01"}
	if got := short.Redact("NO s3cret is bob's"); got != "NO *** is bob's" {
		t.Errorf("short token: %s", got)
	}
}

// FuzzRedactToken: no part of a token that is long enough to be of use is left.
func FuzzRedactToken(f *testing.F) {
	f.Add("n,a=bob,\x01auth=Bearer abcdefghijklmnop\x01\x01", "NO abcdefgh and ijklmnop")
	f.Add("user=bob\x01auth=Bearer x\x01\x01", "NO x")
	f.Add("aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	f.Fuzz(func(t *testing.T, message, text string) {
		if message == "" {
			return
		}
		got := (&Conn{Token: message}).Redact(text)
		for i := range max(0, len(got)-shownPart+1) {
			if part := got[i : i+shownPart]; strings.Contains(message, part) && !strings.Contains(part, "***") {
				t.Fatalf("%q in %q", part, got)
			}
		}
	})
}
