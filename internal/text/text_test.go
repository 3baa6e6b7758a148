package text

import (
	"strings"
	"testing"
	"unicode"
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
		"ann\u202efdp.exe":     `ann\342\200\256fdp.exe`,
		"\u2066a\u2069":        `\342\201\246a\342\201\251`,
		"\u200f\u061c":         `\342\200\217\330\234`,
		"adm\u200bin":          `adm\342\200\213in`,
		"\ufeffadmin":          `\357\273\277admin`,
		"a\u00ad\U000e0041":    `a\302\255\363\240\201\201`,
	} {
		if got := Visible(in); got != want {
			t.Errorf("Visible(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestVisibleLetters: what people write stays as it is.
func TestVisibleLetters(t *testing.T) {
	for _, s := range []string{"Zo\u00eb", "\u0416\u0435\u043d\u044f", "\u05d3\u05d5\u05d3",
		"\u0645\u062d\u0645\u062f",
		"\u0928\u093f\u0936\u093e",
		"\u0e2a\u0e21\u0e0a\u0e32\u0e22", "\u5c71\u7530", "\uae40", "e\u0301", "\U0001f600"} {
		if got := Visible(s); got != s {
			t.Errorf("Visible(%q) = %q", s, got)
		}
	}
}

// TestLine: format characters are for people's mail programs.
func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"\u0645\u06cc\u200c\u062e": "\u0645\u06cc\u200c\u062e", "\u202ea": "\u202ea",
		"a\r\nb\u0085\u2028\u2029\xff": `a\015\012b\302\205\342\200\250\342\200\251\377`,
	} {
		if got := Line(in); got != want {
			t.Errorf("Line(%q) = %q, want %q", in, got, want)
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
		if c, found := Control("a" + s + "b"); found != (c0 && r != '\t') || found && rune(c) != r {
			t.Errorf("Control(%q) = %q, %v", s, c, found)
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
	f.Add("x\u202e\u2066\u061c\u2028\u200d\U000e0001")
	f.Fuzz(func(t *testing.T, s string) {
		seen, field, line := Visible(s), Field(s), Line(s)
		if !fitsLog(seen) || Visible(seen) != seen || Visible(line) != seen {
			t.Errorf("Visible(%q) = %q", s, seen)
		}
		if !fitsLog(field) || strings.Contains(field, ",") || len(field) > 4*maxField+3 {
			t.Errorf("Field(%q) = %q", s, field)
		}
		if !utf8.ValidString(line) || !PlainName(line) || Line(line) != line {
			t.Errorf("Line(%q) = %q", s, line)
		}
	})
}

// fitsLog says whether s has no byte and no character that a log is not to have.
func fitsLog(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
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
