package config

import (
	"errors"
	"fmt"
	"strings"
)

// maxFileErrors is how many lines of one file are named that are not understood: more say that it is some
// other file.
const maxFileErrors = 20

// errCRLF is the same for every line of a file, so it is reported once.
var errCRLF = errors.New("the line ends in CR LF: convert the file to Unix lines")

// Parse reads the text of one configuration file into raw. It takes what Courier's imapd, imapd-ssl, pop3d
// and pop3d-ssl hold, a small part of the shell's language: blank lines, comments, and one assignment a line,
//
//	NAME=word 'words' "words with $NAME and ${NAME}"   # comment
//
// with backslashes outside single quotes as the shell reads them. $NAME is the environment's value, else what
// raw holds by then, else nothing. Anything else is an error that names file and line, rather than a setting
// that is not in force; the other lines are read all the same.
func Parse(file, text string, environment, raw Raw) error {
	lookup := func(name string) string {
		if value, ok := environment[name]; ok {
			return value.Text
		}
		return raw[name].Text
	}
	var errs []error
	for i, line := range strings.Split(text, "\n") {
		p := fileLine{rest: line, lookup: lookup}
		name, value, err := p.assignment()
		switch {
		case err == nil && name != "":
			raw[name] = Value{Text: value, File: file, Line: i + 1}
		case err != nil && len(errs) == maxFileErrors:
			return errors.Join(append(errs, fmt.Errorf("%s: more lines are not understood", file))...)
		case err != nil:
			errs = append(errs, fmt.Errorf("%s:%d: %w", file, i+1, err))
		}
		if err == errCRLF {
			break
		}
	}
	return joinErrors(errs)
}

// joinErrors is errors.Join, but leaves a single error as it is.
func joinErrors(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// fileLine is what is left of one line.
type fileLine struct {
	rest   string
	lookup func(name string) string
}

// assignment returns the line's setting, no name for an empty line.
func (p *fileLine) assignment() (name, value string, err error) {
	for i := range len(p.rest) {
		if c := p.rest[i]; c < 0x20 && c != '\t' || c == 0x7f {
			if strings.HasSuffix(p.rest, "\r") {
				return "", "", errCRLF
			}
			return "", "", fmt.Errorf("control character %q", c)
		}
	}
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
		return "", "", fmt.Errorf("%s: %w", name, err)
	}
	if p.blanks() == 0 && p.rest != "" || p.rest != "" && p.rest[0] != '#' {
		return "", "", fmt.Errorf("%s: %q after the value: a value with blanks has to be quoted", name, p.rest)
	}
	return name, value, nil
}

// word reads one word of the shell's language.
func (p *fileLine) word() (string, error) {
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
func (p *fileLine) quoted(b *strings.Builder) error {
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
func (p *fileLine) expand(b *strings.Builder) error {
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
func (p *fileLine) name() string {
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
func (p *fileLine) blanks() int {
	rest := strings.TrimLeft(p.rest, " \t")
	n := len(p.rest) - len(rest)
	p.rest = rest
	return n
}
