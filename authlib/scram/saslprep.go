package scram

import (
	"strings"
	"unicode/utf8"

	"mailproxy/internal/text"

	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// prepare is SASLprep (RFC 4013), and the identity for what it does not allow. ASCII is returned as it is.
//
// It differs from the RFC in one thing: the RFC knows the characters of Unicode 3.2 and allows no others in
// stored passwords; here those that came later are allowed and normalized like the rest. Verify tries both
// forms of a password, so that keys made by a program that keeps to the letter still verify.
//
// The libraries for this build their tables when a program starts, which a process for each connection pays
// for at every login, whatever mechanism it uses.
func prepare(password string) string {
	if text.IsASCII(password) || !utf8.ValidString(password) {
		return password
	}
	prepared := norm.NFKC.String(strings.Map(mapped, password))
	if prepared == "" || strings.ContainsFunc(prepared, prohibited) || !directed(prepared) {
		return password
	}
	return prepared
}

// mapped is RFC 4013 section 2.1: what commonly becomes nothing (RFC 3454 table B.1), and other spaces (table
// C.1.2).
func mapped(r rune) rune {
	switch {
	case r == 0xAD, r == 0x34F, r == 0x1806, within(r, 0x180B, 0x180D), within(r, 0x200B, 0x200D),
		r == 0x2060, within(r, 0xFE00, 0xFE0F), r == 0xFEFF:
		return -1
	case otherSpace(r):
		return ' '
	}
	return r
}

func otherSpace(r rune) bool {
	return r == 0xA0 || r == 0x1680 || within(r, 0x2000, 0x200B) || r == 0x202F || r == 0x205F || r == 0x3000
}

// prohibited is RFC 4013 section 2.3, by the tables of RFC 3454.
func prohibited(r rune) bool {
	switch {
	case otherSpace(r): // C.1.2
	case r < 0x20, within(r, 0x7F, 0x9F), // C.2.1, C.2.2: control characters
		r == 0x6DD, r == 0x70F, r == 0x180E, within(r, 0x200C, 0x200D), within(r, 0x2028, 0x2029),
		within(r, 0x2060, 0x2063), within(r, 0x206A, 0x206F), r == 0xFEFF, within(r, 0xFFF9, 0xFFFC),
		within(r, 0x1D173, 0x1D17A):
	case within(r, 0xE000, 0xF8FF), r >= 0xF0000: // C.3, private use
	case within(r, 0xFDD0, 0xFDEF), r&0xFFFE == 0xFFFE: // C.4, no characters
	case r == utf8.RuneError: // C.6; C.5, surrogates, are not valid UTF-8
	case within(r, 0x2FF0, 0x2FFB): // C.7, descriptions of ideographs
	case within(r, 0x340, 0x341), within(r, 0x200E, 0x200F), within(r, 0x202A, 0x202E): // C.8, display
	case r == 0xE0001, within(r, 0xE0020, 0xE007F): // C.9, tags
	default:
		return false
	}
	return true
}

func within(r, first, last rune) bool { return first <= r && r <= last }

// directed is RFC 3454 section 6: what has letters written from right to left has none written the other way,
// and begins and ends with one.
func directed(s string) bool {
	var left, right bool
	for _, r := range s {
		left = left || class(r) == bidi.L
		right = right || rightToLeft(r)
	}
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	return !right || !left && rightToLeft(first) && rightToLeft(last)
}

func rightToLeft(r rune) bool { return class(r) == bidi.R || class(r) == bidi.AL }

func class(r rune) bidi.Class {
	p, _ := bidi.LookupRune(r)
	return p.Class()
}
