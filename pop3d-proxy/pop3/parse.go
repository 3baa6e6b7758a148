package pop3

import (
	"strings"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/text"
)

// maxLine bounds a client's line without its end, in bytes: AUTH with an initial response as long as a
// response may be. RFC 2449 section 4 asks for 255, RFC 5034 section 4 for longer ones in AUTH.
const maxLine = sasl.MaxLine

// maxLongLine is for AUTH with a token.
const maxLongLine = sasl.MaxBearerLine

// mayBeLong says whether a line begins with a command that may be longer than others: AUTH with a mechanism
// that has a token.
func mayBeLong(line []byte) bool {
	const begin = 64
	word := strings.Fields(string(line[:min(len(line), begin)]))
	return len(word) > 1 && strings.EqualFold(word[0], "AUTH") && sasl.HasToken(word[1])
}

// parseLine splits a line into the command's name in upper case and the rest after one blank or tab; more
// blanks belong to the rest, a password may begin with one. Blanks in front are dropped, as Courier does. ok
// is false for a line with a NUL, CR or any other control character but the tab that may separate.
func parseLine(line []byte) (name, arg string, ok bool) {
	s := strings.TrimLeft(string(line), " \t")
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		name = s
	} else {
		name, arg = s[:i], s[i+1:]
	}
	if _, found := text.Control(s); found {
		return "", "", false
	}
	return strings.ToUpper(name), arg, true
}
