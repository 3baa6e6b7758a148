package imap

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/line"
	"mailproxy/internal/text"
)

// The limits on what a client may send before it has logged in, in bytes. No command can hold more memory
// than a line and two literals.
const (
	maxLine    = 16384 // a line, without its end
	maxLiteral = 8192
	// maxLongLine is for ID - 30 fields of 30 and 1,024 bytes, each byte with a backslash in front (RFC 2971
	// section 3.3) - and for AUTHENTICATE with a token.
	maxLongLine = sasl.MaxBearerLine
	maxTag      = 255
	// maxSkip bounds the non-synchronising literals that come with a command in error and are thrown away.
	maxSkip = 1 << 20
)

var (
	// errSyntax: the command cannot be understood. The client may go on.
	errSyntax = errors.New("syntax error")
	// errTooLong: a line or a literal exceeds its limit. The client may go on.
	errTooLong = errors.New("command too long")
	// errFlood: a non-synchronising literal is too long even to be skipped. The session must end, as what
	// follows would be taken for commands.
	errFlood = errors.New("literal too long")
)

// parser reads one command at a time from the client. It consumes lines and literals as the grammar asks for
// them, and nothing after them.
type parser struct {
	in *line.Reader
	// proceed asks the client for a synchronising literal.
	proceed func() error
	// rest is what has not been parsed of the current line.
	rest []byte
	// cut is set when the current line was longer than maxLongLine and rest holds only its beginning.
	cut bool
	// long is set when the current line is longer than maxLine: only some commands may be.
	long bool
	// more is the size of the non-synchronising literal that the current line announces at its end and that
	// has not been read; -1 = there is none.
	more int64
	// inList is set while a parenthesised list is read, where ")" may follow an argument.
	inList bool
}

// begin reads the next line and returns its tag. An error of the connection is returned as it is. A line
// without a usable tag is errSyntax and tag is empty.
func (p *parser) begin() (tag string, err error) {
	if err := p.nextLine(); err != nil {
		return "", err
	}
	p.blanks()
	n := 0
	for n < len(p.rest) && isTagChar(p.rest[n]) {
		n++
	}
	if n == 0 || n > maxTag || n < len(p.rest) && !isBlank(p.rest[n]) {
		return "", errSyntax
	}
	tag = string(p.rest[:n])
	if tag == "NIL" {
		return "", errSyntax
	}
	p.rest = p.rest[n:]
	if p.cut || p.long && !mayBeLong(p.rest) {
		return tag, errTooLong
	}
	return tag, nil
}

// mayBeLong says whether what follows a tag begins with a command that may be longer than others: ID, or
// AUTHENTICATE with a mechanism that has a token.
func mayBeLong(rest []byte) bool {
	name, rest := cutWord(rest)
	if strings.EqualFold(name, "AUTHENTICATE") {
		name, rest = cutWord(rest)
		return sasl.HasToken(name) && len(rest) > 0
	}
	return strings.EqualFold(name, "ID") && len(rest) > 0
}

// cutWord returns the first word of a line, if it is no longer than the name of a command or mechanism, and
// what follows it.
func cutWord(rest []byte) (string, []byte) {
	const longest = 20
	rest = bytes.TrimLeft(rest, " \t")
	i := bytes.IndexAny(rest[:min(len(rest), longest+1)], " \t")
	if i < 0 {
		return "", nil
	}
	return string(rest[:i]), rest[i:]
}

// nextLine reads a line and looks at its end for a literal.
func (p *parser) nextLine() error {
	content, err := p.in.ReadLine(maxLongLine)
	p.cut = errors.Is(err, line.ErrTooLong)
	p.long = len(content) > maxLine
	if err != nil && !p.cut {
		return err
	}
	// Clients that translate line ends twice send CR CR LF. A line that holds strings does not end in a
	// blank.
	p.rest = bytes.TrimRight(content, "\r")
	p.more = -1
	if size, plus, _, ok := literalAtEnd(p.rest); ok && plus && !p.cut {
		p.more = size
	}
	return nil
}

// word returns the next atom, a command or mechanism name; "" at the end of the line.
func (p *parser) word() string {
	p.blanks()
	n := 0
	for n < len(p.rest) && isAtomChar(p.rest[n]) {
		n++
	}
	w := string(p.rest[:n])
	p.rest = p.rest[n:]
	return w
}

// end checks that nothing but blanks is left of the command.
func (p *parser) end() error {
	p.blanks()
	if len(p.rest) > 0 || p.more >= 0 {
		return errSyntax
	}
	return nil
}

// astring returns the next argument: an atom, a quoted string or a literal (RFC 3501 section 4.3, RFC 7888).
// NIL is an error, but "nil" in any other case is an atom, as in Courier: it may be a password.
func (p *parser) astring() (string, error) {
	p.blanks()
	switch {
	case len(p.rest) == 0:
		return "", errSyntax
	case p.rest[0] == '"':
		return p.quoted()
	case p.rest[0] == '{':
		return p.literal()
	}
	atom := p.word()
	if atom == "" || atom == "NIL" {
		return "", errSyntax
	}
	return atom, p.separated()
}

// quoted reads a quoted string. As in Courier a backslash takes any character literally, not only '"' and
// '\', and 8-bit bytes must be UTF-8 (RFC 9051 section 4.3); what is not has to come as a literal.
func (p *parser) quoted() (string, error) {
	s := make([]byte, 0, len(p.rest)) // does not grow, which would leave copies of a password behind
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; c {
		case '"':
			p.rest = p.rest[i+1:]
			if !utf8.Valid(s) {
				return "", errSyntax
			}
			return text.StringAndClear(s), p.separated()
		case '\\':
			i++
			if i == len(p.rest) {
				return "", errSyntax
			}
			s = append(s, p.rest[i])
		default:
			s = append(s, c)
		}
	}
	return "", errSyntax
}

// literal reads a literal and the line that goes on after it.
func (p *parser) literal() (string, error) {
	size, plus, prefix, ok := literalAtEnd(p.rest)
	switch {
	case !ok || prefix != 0:
		return "", errSyntax
	case size > maxLiteral:
		return "", errTooLong // p.more, when set, makes discard skip it
	case !plus:
		if err := p.proceed(); err != nil {
			return "", err
		}
	}
	p.more, p.rest = -1, nil
	s := make([]byte, size)
	if err := p.in.ReadFull(s); err != nil {
		return "", err
	}
	value := text.StringAndClear(s)
	if err := p.nextLine(); err != nil {
		return "", err
	}
	if p.cut || p.long && !p.inList {
		return "", errTooLong
	}
	return value, p.separated()
}

// separated checks that a blank, or nothing, follows an argument.
func (p *parser) separated() error {
	if len(p.rest) > 0 && !isBlank(p.rest[0]) && !(p.inList && p.rest[0] == ')') {
		return errSyntax
	}
	return nil
}

// discard throws away what is left of a command in error: the literals that the client sends unasked, and the
// lines after them. It returns errors of the connection, and errFlood.
func (p *parser) discard() error {
	for budget := int64(maxSkip); p.more >= 0; {
		if budget -= max(p.more, maxLiteral); budget < 0 { // many short ones have an end, too
			return errFlood
		}
		for left := p.more; left > 0; {
			chunk := make([]byte, min(left, maxLiteral))
			err := p.in.ReadFull(chunk)
			clear(chunk)
			if err != nil {
				return err
			}
			left -= int64(len(chunk))
		}
		if err := p.nextLine(); err != nil {
			return err
		}
	}
	p.rest = nil
	return nil
}

func (p *parser) blanks() {
	p.rest = bytes.TrimLeft(p.rest, " \t")
}

// literalAtEnd looks for "{n}" or "{n+}" at the end of a line: the literal's size, whether it comes unasked,
// and where in the line it is announced. Sizes that do not fit are cut to 1<<40, far above every limit.
func literalAtEnd(text []byte) (size int64, plus bool, at int, ok bool) {
	at = bytes.LastIndexByte(text, '{')
	if at < 0 || text[len(text)-1] != '}' {
		return 0, false, 0, false
	}
	digits := text[at+1 : len(text)-1]
	if n := len(digits); n > 0 && digits[n-1] == '+' {
		plus, digits = true, digits[:n-1]
	}
	if len(digits) == 0 {
		return 0, false, 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false, 0, false
		}
		size = min(size*10+int64(c-'0'), 1<<40)
	}
	return size, plus, at, true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// isAtomChar says which bytes an unquoted argument may hold: everything visible that cannot begin a string.
// That is more than RFC 3501 allows, since clients send passwords with "~", "}", "[" and "]" unquoted.
func isAtomChar(c byte) bool {
	return c > ' ' && c < 0x7f && c != '"' && c != '{' && c != '\\'
}

// isTagChar: RFC 3501 section 9, tag. A "*" or "+" as a tag would make our answer look like something else.
func isTagChar(c byte) bool {
	return isAtomChar(c) && strings.IndexByte("()%*+", c) < 0
}
