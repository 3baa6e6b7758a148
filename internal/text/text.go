// Package text escapes untrusted text for log lines, and says whether text has control characters. Every
// program's log uses it, and so do the checks of settings and of clients' input.
//
// Characters that a protocol cannot carry are checked where it is written: authlib.HasControl for the lines
// of the authdaemon protocol, and in package imap what a quoted string may hold.
package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Visible returns s as logs and terminals are to have it: besides what [Line] writes as \ooo, Unicode's
// format characters (category Cf: the marks and overrides of writing direction, characters of no width),
// which can make a line look like another.
func Visible(s string) string {
	return Escape(s, func(r rune) bool { return isControl(r) || unicode.Is(unicode.Cf, r) })
}

// Line returns s with control characters (C0, DEL, and the C1 controls U+0080 to U+009F), line separators and
// bytes that are not UTF-8 written as \ooo. Format characters stay, which some languages are not written
// without: it is for what people read in their mail programs.
func Line(s string) string { return Escape(s, isControl) }

// Escape returns s with the characters that hidden names, and bytes that are not UTF-8, written as \ooo, byte
// by byte. It leaves what it returns as it is, if hidden names no printable character of ASCII.
func Escape(s string, hidden func(rune) bool) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for s != "" {
		r, n := utf8.DecodeRuneInString(s)
		if hidden(r) || r == utf8.RuneError && n <= 1 {
			for _, c := range []byte(s[:n]) {
				fmt.Fprintf(&b, "\\%03o", c)
			}
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

func isControl(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// maxField bounds a value in a log line, in bytes before it is escaped.
const maxField = 300

// Field makes a value safe inside a line of "name=value, name=value": it is Visible, its commas are written
// as \054, and it is cut at maxField bytes. With its commas left in, a user name such as "x, ip=[192.0.2.1]"
// would have fail2ban ban an address of the client's choice.
func Field(value string) string {
	return strings.ReplaceAll(Visible(Shorten(value)), ",", `\054`)
}

// Shorten cuts s at maxField bytes, not within a character, and marks the cut by "...".
func Shorten(s string) string {
	if len(s) <= maxField {
		return s
	}
	return strings.ToValidUTF8(s[:maxField], "") + "..."
}

// IsASCII says whether s has no byte above 0x7f.
func IsASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// Plain says whether s has no control character below U+0020 and no DEL: what a password may hold, which may
// be in any encoding, and the least that every protocol here asks for, as CR or LF would end a command and
// begin another.
func Plain(s string) bool { return !strings.ContainsFunc(s, notPlain) }

func notPlain(r rune) bool { return r < 0x20 || r == 0x7f }

// Control returns the first character for which a line of text, of which tabs may separate words, is not
// Plain.
func Control(line string) (c byte, found bool) {
	i := strings.IndexFunc(line, func(r rune) bool { return r != '\t' && notPlain(r) })
	if i < 0 {
		return 0, false
	}
	return line[i], true
}

// PlainName is Plain for names, which are shown to people and written to logs: no C1 controls and no line
// separators either. Format characters pass, as names in some scripts have them, and bytes that are not
// UTF-8, as old accounts have names in other encodings.
func PlainName(s string) bool { return !strings.ContainsFunc(s, isControl) }

// Lower returns s with every character replaced by its simple lowercase mapping (Unicode's UnicodeData.txt:
// one character for one, whatever stands around it and whatever the language). Bytes that are not UTF-8 stay
// as they are.
func Lower(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for s != "" {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError {
			b.WriteString(s[:n])
		} else {
			b.WriteRune(unicode.ToLower(r))
		}
		s = s[n:]
	}
	return b.String()
}

// StringAndClear returns the bytes as a string and overwrites them: they may be a password.
func StringAndClear(p []byte) string {
	s := string(p)
	clear(p)
	return s
}
