// Package shellfile reads the small part of the shell's language that Courier's settings are written in:
// blank lines, comments, and one assignment a line. Anything else is an error, rather than a setting that is
// not in force.
package shellfile

import (
	"errors"
	"fmt"
	"strings"

	"mailproxy/internal/text"
)

// ErrCRLF is the error for a line of a file with DOS line ends, the same for each.
var ErrCRLF = errors.New("the line ends in CR LF: convert the file to Unix lines")

// line is what is left of one line.
type line struct {
	rest   string
	lookup func(name string) string
}

// Assignment returns the setting of one line, no name for a line that is empty or a comment,
//
//	NAME=word'words'"words with $NAME and ${NAME}"   # comment
//
// with backslashes outside single quotes as the shell reads them. lookup says what $NAME is. The error says
// what is not understood; the name is returned beside it when it was.
func Assignment(assignment string, lookup func(name string) string) (name, value string, err error) {
	if c, found := text.Control(assignment); found {
		if strings.HasSuffix(assignment, "\r") {
			return "", "", ErrCRLF
		}
		return "", "", fmt.Errorf("control character %q", c)
	}
	p := line{rest: assignment, lookup: lookup}
	p.blanks()
	if p.rest == "" || p.rest[0] == '#' {
		return "", "", nil
	}
	name = p.name()
	if name == "" || !strings.HasPrefix(p.rest, "=") {
		return "", "", errors.New("only NAME=value is understood here")
	}
	p.rest = p.rest[1:]
	value, err = p.word()
	if err != nil {
		return name, "", fmt.Errorf("%s: %w", name, err)
	}
	if p.blanks() == 0 && p.rest != "" || p.rest != "" && p.rest[0] != '#' {
		return name, "", fmt.Errorf("%s: %q after the value: a value with blanks has to be quoted", name, p.rest)
	}
	return name, value, nil
}

// word reads one word of the shell's language.
func (p *line) word() (string, error) {
	var b strings.Builder
	if strings.HasPrefix(p.rest, "~") {
		return "", errors.New("~ is not understood here")
	}
	for p.rest != "" {
		c := p.rest[0]
		switch c {
		case ' ', '\t':
			return b.String(), nil
		case '\'':
			inner, rest, ok := strings.Cut(p.rest[1:], "'")
			if !ok {
				return "", errors.New("' without its end")
			}
			b.WriteString(inner)
			p.rest = rest
		case '"':
			p.rest = p.rest[1:]
			if err := p.quoted(&b); err != nil {
				return "", err
			}
		case '\\':
			if len(p.rest) == 1 {
				return "", errors.New("a line cannot be continued on the next")
			}
			b.WriteByte(p.rest[1])
			p.rest = p.rest[2:]
		case '$':
			if err := p.expand(&b); err != nil {
				return "", err
			}
		case '`', ';', '&', '|', '<', '>', '(', ')':
			return "", fmt.Errorf("%q is not understood here", c)
		default:
			b.WriteByte(c)
			p.rest = p.rest[1:]
		}
	}
	return b.String(), nil
}

// quoted reads up to and including the closing quotation mark.
func (p *line) quoted(b *strings.Builder) error {
	for p.rest != "" {
		c := p.rest[0]
		switch c {
		case '"':
			p.rest = p.rest[1:]
			return nil
		case '\\':
			// Within quotation marks a backslash is one unless it stands before one of these.
			if len(p.rest) > 1 && strings.IndexByte("\"\\$`", p.rest[1]) >= 0 {
				b.WriteByte(p.rest[1])
				p.rest = p.rest[2:]
				continue
			}
			b.WriteByte(c)
			p.rest = p.rest[1:]
		case '$':
			if err := p.expand(b); err != nil {
				return err
			}
		case '`':
			return fmt.Errorf("%q is not understood here", c)
		default:
			b.WriteByte(c)
			p.rest = p.rest[1:]
		}
	}
	return errors.New("\" without its end")
}

// expand reads $NAME or ${NAME}.
func (p *line) expand(b *strings.Builder) error {
	p.rest = p.rest[1:]
	brace := strings.HasPrefix(p.rest, "{")
	if brace {
		p.rest = p.rest[1:]
	}
	name := p.name()
	if name == "" || brace && !strings.HasPrefix(p.rest, "}") {
		return errors.New("after $ only NAME or {NAME} is understood here")
	}
	if brace {
		p.rest = p.rest[1:]
	}
	b.WriteString(p.lookup(name))
	return nil
}

// name reads a name: letters, digits and underscores, no digit first.
func (p *line) name() string {
	n := 0
	for n < len(p.rest) {
		c := p.rest[n]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (n == 0 || c < '0' || c > '9') {
			break
		}
		n++
	}
	name := p.rest[:n]
	p.rest = p.rest[n:]
	return name
}

// blanks skips blanks and tabs and returns how many there were.
func (p *line) blanks() int {
	rest := strings.TrimLeft(p.rest, " \t")
	n := len(p.rest) - len(rest)
	p.rest = rest
	return n
}
