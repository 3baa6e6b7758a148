package sqlaccount

import (
	"strconv"
	"strings"
)

// cut splits text at its placeholders. Unknown ones become nothing; "$(" that is not closed stays.
func cut(text string) literal {
	var l literal
	for text != "" {
		i := strings.Index(text, "$(")
		end := 0
		if i >= 0 {
			end = placeholderEnd(text[i:])
		}
		if end == 0 {
			return l.add(text)
		}
		l = l.add(text[:i])
		if f := fieldOf(text[i+2 : i+end-1]); f != none {
			l = append(l, segment{field: f})
		}
		text = text[i+end:]
	}
	return l
}

func (l literal) add(text string) literal {
	if text == "" {
		return l
	}
	if n := len(l); n > 0 && l[n-1].field == none {
		l[n-1].text += text
		return l
	}
	return append(l, segment{text: text})
}

// blanked returns a comment with a blank for each placeholder, so that nothing closes it that did not before.
func blanked(text string) string {
	for from := 0; ; {
		i := strings.Index(text[from:], "$(")
		if i < 0 {
			return text
		}
		i += from
		end := placeholderEnd(text[i:])
		if end == 0 {
			return text
		}
		text = text[:i] + " " + text[i+end:]
		from = i + 1
	}
}

// literal reads a quoted token: its decoded text cut at the placeholders, and the token as it is to be
// written when it holds no known one.
func (c *compiler) literal(quote byte, backslash bool) (l literal, raw string, err error) {
	var decoded, written strings.Builder
	start := c.pos
	flush := func() {
		l = l.add(decoded.String())
		decoded.Reset()
	}
	written.WriteByte(quote)
	for i := start + 1; i < len(c.src); i++ {
		b := c.src[i]
		switch {
		case b == quote && i+1 < len(c.src) && c.src[i+1] == quote:
			decoded.WriteByte(b)
			written.WriteString(c.src[i : i+2])
			i++
		case b == quote:
			flush()
			written.WriteByte(b)
			c.pos = i + 1
			return l, written.String(), nil
		case b == '\\' && backslash:
			text, n := c.d.unescape(c.src[i:])
			decoded.WriteString(text)
			written.WriteString(c.src[i : i+n])
			i += n - 1
		case b == '$' && strings.HasPrefix(c.src[i:], "$(") && placeholderEnd(c.src[i:]) > 0:
			n := placeholderEnd(c.src[i:])
			if f := fieldOf(c.src[i+2 : i+n-1]); f != none {
				flush()
				l = append(l, segment{field: f})
			}
			i += n - 1
		case c.d.Multibyte != nil && c.d.Multibyte(b) && i+1 < len(c.src):
			decoded.WriteString(c.src[i : i+2])
			written.WriteString(c.src[i : i+2])
			i++
		default:
			decoded.WriteByte(b)
			written.WriteByte(b)
		}
	}
	return nil, "", errOpen
}

// unescape returns what the backslash sequence at the beginning of s stands for, and its length in s.
func (d Dialect) unescape(s string) (text string, n int) {
	if len(s) < 2 {
		return s, len(s)
	}
	switch s[1] {
	case 'b':
		return "\b", 2
	case 'n':
		return "\n", 2
	case 'r':
		return "\r", 2
	case 't':
		return "\t", 2
	}
	if d.MySQL {
		switch s[1] {
		case '0':
			return "\x00", 2
		case 'Z':
			return "\x1a", 2
		case '%', '_': // kept for LIKE
			return s[:2], 2
		}
		return s[1:2], 2
	}
	switch b := s[1]; {
	case b == 'f':
		return "\f", 2
	case b == 'x':
		if v, n := number(s[2:], 16, 2); n > 0 {
			return string([]byte{byte(v)}), 2 + n
		}
	case b == 'u':
		if v, n := number(s[2:], 16, 4); n == 4 {
			return string(rune(v)), 6
		}
	case b == 'U':
		if v, n := number(s[2:], 16, 8); n == 8 {
			return string(rune(v)), 10
		}
	case b >= '0' && b <= '7':
		v, n := number(s[1:], 8, 3)
		return string([]byte{byte(v)}), 1 + n
	}
	return s[1:2], 2
}

// number reads the digits of a base that s begins with, at most limit; n is how many there are.
func number(s string, base, limit int) (v uint64, n int) {
	for n < len(s) && n < limit {
		more, err := strconv.ParseUint(s[:n+1], base, 32)
		if err != nil {
			break
		}
		v, n = more, n+1
	}
	return v, n
}
