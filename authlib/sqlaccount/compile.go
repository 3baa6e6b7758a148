package sqlaccount

import (
	"errors"
	"strings"
)

var (
	errOpen = errors.New("a quote or comment is not closed")
	errGlue = errors.New("a placeholder is glued to a name or number; write it as a string in quotes")
	errKind = errors.New("a placeholder stands in a literal that cannot be a parameter (U&'', B'', X'')")
)

// compiler walks over a template's tokens as the server would.
type compiler struct {
	d    Dialect
	q    *Query
	text strings.Builder // fixed text since the last dynamic token
	src  string
	pos  int
}

func (c *compiler) flush() {
	if c.text.Len() > 0 {
		c.q.sql = append(c.q.sql, token{text: c.text.String()})
		c.text.Reset()
	}
}

// addParam puts a parameter into the statement.
func (c *compiler) addParam(l literal) {
	c.q.params = append(c.q.params, l)
	c.text.WriteString(c.d.param(len(c.q.params)))
}

// addQuoted puts a token into the statement whose text depends on values.
func (c *compiler) addQuoted(l literal, quote func(*strings.Builder, string), narrow bool) {
	c.flush()
	c.q.sql = append(c.q.sql, token{value: l, quote: quote, narrow: narrow})
}

func (c *compiler) scan(sql string) error {
	c.src, c.pos = sql, 0
	for c.pos < len(c.src) {
		if err := c.next(); err != nil {
			return err
		}
	}
	return nil
}

// rest returns what has not been read.
func (c *compiler) rest() string { return c.src[c.pos:] }

// next reads one token.
func (c *compiler) next() error {
	rest := c.rest()
	switch b := rest[0]; {
	case b == '\'':
		return c.quoted("", '\'')
	case b == '"' && c.d.MySQL && !c.d.ANSIQuotes:
		return c.quoted("", '"')
	case b == '"', b == '`' && c.d.MySQL:
		return c.name(b)
	case b == '$' && strings.HasPrefix(rest, "$("):
		return c.bare()
	case b == '$' && !c.d.MySQL:
		return c.dollar()
	case strings.HasPrefix(rest, "--"), b == '#' && c.d.MySQL:
		// MySQL wants a blank after the dashes: 1--1 is 2 there.
		if c.d.MySQL && b == '-' && len(rest) > 2 && rest[2] > ' ' {
			break
		}
		return c.comment(strings.IndexByte(rest, '\n'), len(rest))
	case strings.HasPrefix(rest, "/*"):
		return c.blockComment()
	case wordByte(b):
		return c.word()
	}
	c.text.WriteByte(rest[0])
	c.pos++
	return nil
}

// wordByte tells the bytes of names, keywords and numbers.
func wordByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b >= 0x80
}

// word reads a name, a keyword or a number, and the literal it is the prefix of.
func (c *compiler) word() error {
	rest := c.rest()
	n := 0
	for n < len(rest) && (wordByte(rest[n]) || rest[n] == '$' && !strings.HasPrefix(rest[n:], "$(")) {
		if c.d.Multibyte != nil && c.d.Multibyte(rest[n]) && n+1 < len(rest) {
			n++
		}
		n++
	}
	word, after := rest[:n], rest[n:]
	c.pos += n
	if strings.HasPrefix(after, "$(") && placeholderEnd(after) > 0 {
		return errGlue
	}
	prefix := strings.ToLower(word)
	if strings.HasPrefix(after, "'") {
		switch prefix {
		case "e", "n", "b", "x":
			return c.quoted(word, '\'')
		}
	}
	if !c.d.MySQL && prefix == "u" && (strings.HasPrefix(after, "&'") || strings.HasPrefix(after, `&"`)) {
		c.pos++
		return c.quoted(word+"&", after[1])
	}
	c.text.WriteString(word)
	if c.d.MySQL && word[0] == '_' {
		blanks := len(after) - len(strings.TrimLeft(after, " \t\n"))
		if q := after[blanks:]; q != "" && (q[0] == '\'' || q[0] == '"' && !c.d.ANSIQuotes) {
			c.pos += blanks
			c.text.WriteByte(' ')
			return c.quoted("_", q[0])
		}
	}
	return nil
}

// bare reads a placeholder that stands alone.
func (c *compiler) bare() error {
	rest := c.rest()
	end := placeholderEnd(rest)
	if end == 0 {
		c.text.WriteByte('$')
		c.pos++
		return nil
	}
	if c.pos+end < len(c.src) && (wordByte(c.src[c.pos+end]) || strings.HasPrefix(c.src[c.pos+end:], "$(")) {
		return errGlue
	}
	c.pos += end
	if f := fieldOf(rest[2 : end-1]); f != none {
		c.addParam(literal{{field: f}})
	} else {
		c.text.WriteByte(' ') // nothing at all would join its neighbours to one token
	}
	return nil
}

// placeholderEnd returns the length of the placeholder that s begins with, 0 when "$(" is not closed.
func placeholderEnd(s string) int { return strings.IndexByte(s, ')') + 1 }

// name reads a quoted identifier.
func (c *compiler) name(quote byte) error {
	l, raw, err := c.literal(quote, false)
	if err != nil {
		return err
	}
	if !l.dynamic() {
		c.text.WriteString(raw)
		return nil
	}
	c.addQuoted(l, quoteName(string(quote)), c.d.Multibyte != nil)
	return nil
}

// quoted reads a string literal; prefix has been read and not been written, but for "_".
func (c *compiler) quoted(prefix string, quote byte) error {
	backslash := c.d.Backslash
	if !c.d.MySQL && strings.EqualFold(prefix, "e") {
		backslash = true
	}
	l, raw, err := c.literal(quote, backslash)
	switch {
	case err != nil:
		return err
	case !l.dynamic():
		if prefix != "_" {
			c.text.WriteString(prefix)
		}
		c.text.WriteString(raw)
	case prefix == "_":
		c.addQuoted(l, quoteHex, false)
	case prefix == "", strings.EqualFold(prefix, "e"), strings.EqualFold(prefix, "n"):
		if c.d.MySQL && strings.EqualFold(prefix, "e") {
			return errGlue // MySQL has no E'': a name, then a string
		}
		c.addParam(l)
	default:
		return errKind
	}
	return nil
}

// dollar reads PostgreSQL's $tag$...$tag$, or a lone dollar.
func (c *compiler) dollar() error {
	rest := c.rest()
	n := 1
	for n < len(rest) && wordByte(rest[n]) && (n > 1 || rest[n] < '0' || rest[n] > '9') {
		n++
	}
	if n == len(rest) || rest[n] != '$' {
		c.text.WriteByte('$')
		c.pos++
		return nil
	}
	tag := rest[:n+1]
	end := strings.Index(rest[n+1:], tag)
	if end < 0 {
		return errOpen
	}
	body := rest[n+1 : n+1+end]
	c.pos += n + 1 + end + len(tag)
	if strings.Contains(body, "$(") {
		c.addParam(cut(body))
		return nil
	}
	c.text.WriteString(tag + body + tag)
	return nil
}

// comment reads to the end of the line, at end, or of the whole text when that is negative.
func (c *compiler) comment(end, length int) error {
	if end < 0 {
		end = length
	}
	c.text.WriteString(blanked(c.src[c.pos : c.pos+end]))
	c.pos += end
	return nil
}

func (c *compiler) blockComment() error {
	rest := c.rest()
	depth, i := 0, 0
	for i < len(rest) {
		switch {
		case strings.HasPrefix(rest[i:], "/*") && (depth == 0 || !c.d.MySQL):
			depth++
			i += 2
		case strings.HasPrefix(rest[i:], "*/"):
			depth--
			i += 2
		default:
			i++
		}
		if depth == 0 {
			break
		}
	}
	if depth != 0 {
		return errOpen
	}
	if c.d.MySQL && strings.HasPrefix(rest, "/*!") && cut(rest[:i]).dynamic() {
		return errKind // a comment that MySQL executes
	}
	return c.comment(i, len(rest))
}
