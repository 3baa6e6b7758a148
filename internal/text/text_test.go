package text

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "",
		"plain, text [1] \\":   "plain, text [1] \\",
		"a\r\nb\tc\x00":        `a\015\012b\011c\000`,
		"gr\u00fc\u00df":       "gr\u00fc\u00df",
		"\xff\xfe":             `\377\376`,
		"\u0085\u2028x":        `\302\205\342\200\250x`,
		"\u009b31m\u0080":      `\302\23331m\302\200`,
		"\u00a0":               "\u00a0",
		"\ufffd":               "\ufffd",
		"\x1b[31mred":          `\033[31mred`,
		"half \xc3":            `half \303`,
		"half \xe2\x82 within": `half \342\202 within`,
	} {
		if got := Visible(in); got != want {
			t.Errorf("Visible(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestField(t *testing.T) {
	for in, want := range map[string]string{
		"ann@example.com":                   "ann@example.com",
		"x, ip=[1.2.3.4], mailhost=evil":    `x\054 ip=[1.2.3.4]\054 mailhost=evil`,
		"a\r\nINFO: LOGIN FAILED":           `a\015\012INFO: LOGIN FAILED`,
		strings.Repeat("n", maxField):       strings.Repeat("n", maxField),
		strings.Repeat("n", maxField+1):     strings.Repeat("n", maxField) + "...",
		strings.Repeat("\u00e9", maxField):  strings.Repeat("\u00e9", maxField/2) + "...",
		strings.Repeat("n", 299) + "\u00e9": strings.Repeat("n", 299) + "...",
	} {
		if got := Field(in); got != want {
			t.Errorf("Field(%q) = %q, want %q", in, got, want)
		}
	}
}

// Every character up to U+00FF, and every byte that is not UTF-8.
func TestPlain(t *testing.T) {
	for r := range rune(0x100) {
		s := "a" + string(r)
		c0 := r < 0x20 || r == 0x7f
		c1 := r >= 0x80 && r < 0xa0
		if got := Plain(s); got != !c0 {
			t.Errorf("Plain(%q) = %v", s, got)
		}
		if got := PlainName(s); got != (!c0 && !c1) {
			t.Errorf("PlainName(%q) = %v", s, got)
		}
		if raw := string([]byte{byte(r)}); r >= 0x80 && (!Plain(raw) || !PlainName(raw)) {
			t.Errorf("the byte %q is refused", raw)
		}
	}
	if PlainName("a\u2028b") || !PlainName("Zo\u00eb") || !PlainName("") {
		t.Error("line separators pass, or names do not")
	}
}

func FuzzField(f *testing.F) {
	f.Add("a\nb\xff")
	f.Add("x, ip=[1.2.3.4]")
	f.Fuzz(func(t *testing.T, s string) {
		seen, field := Visible(s), Field(s)
		if !utf8.ValidString(seen) || !PlainName(seen) || Visible(seen) != seen {
			t.Errorf("Visible(%q) = %q", s, seen)
		}
		if !utf8.ValidString(field) || !PlainName(field) || strings.Contains(field, ",") ||
			len(field) > 4*maxField+3 {
			t.Errorf("Field(%q) = %q", s, field)
		}
	})
}

func TestLower(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "joe@example.com": "joe@example.com", "Joe@EXAMPLE.com": "joe@example.com",
		"Müller@Ärzte.example": "müller@ärzte.example", "ΟΔΟΣ": "οδοσ", "Straße": "straße", "STRASSE": "strasse",
		"\u0130": "i", "\u212a": "k", "\u023a": "\u2c65", // shorter, shorter, longer in UTF-8
		"M\xdcller": "m\xdcller", "\xff\xfeA": "\xff\xfea", "A\ufffdB": "a\ufffdb",
	} {
		if got := Lower(in); got != want {
			t.Errorf("Lower(%q) = %q, want %q", in, got, want)
		}
	}
}

// Names that differ in case alone become one, and a name in lower case stays what it is.
func FuzzLower(f *testing.F) {
	for _, s := range []string{"Joe@Example.COM", "\u0130\u1e9e\u03a3\u03c2", "\xc3A", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		low := Lower(s)
		if again := Lower(low); again != low {
			t.Errorf("Lower(%q) = %q, of which Lower makes %q", s, low, again)
		}
		if utf8.ValidString(s) && low != strings.ToLower(s) {
			t.Errorf("Lower(%q) = %q, strings.ToLower makes %q", s, low, strings.ToLower(s))
		}
	})
}
