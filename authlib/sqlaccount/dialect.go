package sqlaccount

import (
	"fmt"
	"strconv"
	"strings"
)

// Dialect is how a server reads SQL on one connection.
type Dialect struct {
	// MySQL: # comments, "strings" and `names`, character set introducers, ? for a parameter. Otherwise
	// PostgreSQL: E'...', $tag$...$tag$, "names", nested comments, $1.
	MySQL bool
	// Backslash says that a backslash in '...' escapes: MySQL without NO_BACKSLASH_ESCAPES, PostgreSQL with
	// standard_conforming_strings off.
	Backslash bool
	// ANSIQuotes is MySQL's mode in which "..." is a name.
	ANSIQuotes bool
	// Text says that PostgreSQL is told that each parameter is text, for statements whose types it cannot find
	// out by itself.
	Text bool
	// Multibyte tells the first byte of a two-byte character from others, for a connection in a character set
	// whose second bytes may look like a quote or a backslash; nil when there are none such, as in UTF-8.
	Multibyte func(lead byte) bool
}

// Multibyte returns [Dialect.Multibyte] for the character set of a connection, as MySQL or PostgreSQL calls
// it.
func Multibyte(charset string) func(lead byte) bool {
	switch strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(charset)) {
	case "sjis", "cp932", "shiftjis", "mskanji", "win932", "windows932", "windows31j", "shiftjis2004":
		return func(b byte) bool { return b >= 0x81 && b <= 0x9f || b >= 0xe0 && b <= 0xfc }
	case "big5",
		"win950",
		"windows950",
		"gbk",
		"win936",
		"windows936",
		"gb18030",
		"uhc",
		"win949",
		"windows949",
		"johab":
		return func(b byte) bool { return b >= 0x81 && b <= 0xfe }
	}
	return nil
}

// param writes the mark of the n-th parameter, counted from 1.
func (d Dialect) param(n int) string {
	if d.MySQL {
		return "?"
	}
	if d.Text {
		return "$" + strconv.Itoa(n) + "::text"
	}
	return "$" + strconv.Itoa(n)
}

// quoteName returns the writer of a quoted identifier.
func quoteName(quote string) func(*strings.Builder, string) {
	return func(b *strings.Builder, value string) {
		b.WriteString(quote)
		b.WriteString(strings.ReplaceAll(value, quote, quote+quote))
		b.WriteString(quote)
	}
}

// quoteHex writes X'...', which MySQL takes after a character set introducer.
func quoteHex(b *strings.Builder, value string) {
	fmt.Fprintf(b, "X'%X'", value)
}
