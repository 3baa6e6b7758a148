package main

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestShorten(t *testing.T) {
	for _, tc := range []struct {
		s    string
		n    int
		want string
	}{
		{"abcdefgh", 8, "abcdefgh"}, {"abcdefghi", 8, "abc..ghi"}, {"abcdefghi", 7, "abc..hi"},
		{"äöüäöü", 5, "äö..ü"},
		{"abc", 2, ".."}, {"abc", 0, ".."}, {"", 0, ""},
	} {
		if got := shorten(tc.s, tc.n); got != tc.want {
			t.Errorf("%q to %d: %q", tc.s, tc.n, got)
		}
	}
}

// FuzzShown: what is shown is one line of printable characters, and shown again as it is.
func FuzzShown(f *testing.F) {
	for _, s := range []string{"", "ann", "\x1b[2J", "\u202eabc", "\xff", "a\u00ad\ufeff", "日本\u2028",
		"\u009b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := shown(s)
		hidden := func(r rune) bool { return !unicode.IsPrint(r) }
		if strings.ContainsFunc(got, hidden) || !utf8.ValidString(got) || shown(got) != got {
			t.Fatalf("%q: %q", s, got)
		}
	})
}

func TestSizeAndAge(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 9999: "9999", 10_000: "10k", 99_950: "100k", 999_499: "999k",
		999_500: "1.0M", 1_250_000: "1.2M", 12_345_678_901: "12G", 1<<63 - 1: "9.2E"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, not %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-time.Hour: "0s", 59 * time.Second: "59s",
		time.Minute: "1m00s", 3*time.Hour + 5*time.Minute: "3h05m", 100 * time.Hour: "4d04h"} {
		if got := age(d); got != want {
			t.Errorf("%v: %s, not %s", d, got, want)
		}
	}
}

// FuzzParseSamples: what is read has names and values that can be shown.
func FuzzParseSamples(f *testing.F) {
	f.Add("a 1\n")
	f.Add("# HELP a\na{b=\"c\\\"\\\\\\n\",d=\"\"} 1.5e3\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseSamples(text)
		if err != nil {
			return
		}
		for _, s := range all {
			if shown(s.Name+s.labelText()) != s.Name+s.labelText() || len(s.values) != len(s.Labels) {
				t.Fatalf("%q: %+v", text, s)
			}
		}
	})
}
