package scram

import (
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"
)

func TestSASLprepExamples(t *testing.T) {
	for _, c := range []struct{ what, password, prepared string }{
		// RFC 4013 section 3.
		{"soft hyphen", "I\u00adX", "IX"},
		{"no change", "user", "user"},
		{"case is kept", "USER", "USER"},
		{"NFKC", "\u00aa", "a"},
		{"NFKC, two letters", "\u2168", "IX"},
		{"control character", "\u0007", "\u0007"}, // not allowed, as all that stay what they are below
		{"both directions", "\u0627\u0031", "\u0627\u0031"},

		{"taken apart", "pa\u0308sswo\u0308rd", "p\u00e4ssw\u00f6rd"},
		{"other spaces", "a\u00a0b\u3000c", "a b c"},
		{"right to left", "\u05d0\u0308\u05d1", "\u05d0\u0308\u05d1"},
		{"right to left, wide letters inside", "\u05d0\uff41\u05d1", "\u05d0\uff41\u05d1"},
		{"Latin-1", "p\xe4ss\u2168", "p\xe4ss\u2168"},
		{"no character", "\u2168\ufdd0", "\u2168\ufdd0"},
		{"private use", "\u2168\ue000", "\u2168\ue000"},
		{"becomes nothing", "\u00ad", "\u00ad"},
		{"nothing", "", ""},
		{"younger than Unicode 3.2", "\u2168\U0001F600", "IX\U0001F600"},
	} {
		if got := prepare(c.password); got != c.prepared {
			t.Errorf("%s: %+q becomes %+q, want %+q", c.what, c.password, got, c.prepared)
		}
	}
}

// Every character of Unicode 3.2, alone and among others, is prepared as the library does it that has the
// RFC's tables. Its table B.1 lacks a character.
func TestPrepareLikeTheTables(t *testing.T) {
	const (
		missing    = 0x1806
		privateUse = 0xF0000 // to the end, all alike
	)
	seen := 0
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) || stringprep.TableA1.Contains(r) || r == missing || r > privateUse && r%1000 > 0 {
			continue
		}
		seen++
		for _, password := range []string{
			string(r), "a" + string(r) + "a\u0308", "\u05d0" + string(r) + "\u05d1",
		} {
			want, err := stringprep.SASLprep.Prepare(password)
			if err != nil || want == "" {
				want = password
			}
			if got := prepare(password); got != want {
				t.Errorf("%+q becomes %+q, with the RFC's tables %+q", password, got, want)
			}
		}
	}
	if seen < 80_000 {
		t.Errorf("%d characters seen", seen)
	}
}
