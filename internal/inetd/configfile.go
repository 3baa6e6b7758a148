package inetd

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"mailproxy/internal/smallfile"
)

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 1 << 20

// readConfigs reads configuration files in order into one set of settings.
//
// A setting of the environment wins over every file, also where a file uses it as $NAME: couriertcpd's start script has
// sourced the same files before it exported them, and what an administrator adds to a unit file or to an access file is
// meant for this service alone. Among files the later one wins, as if a shell had sourced them one after the other.
func readConfigs(names []string, environment Settings) (Settings, error) {
	s := make(Settings)
	for _, name := range names {
		text, _, err := smallfile.Read(name, maxConfig)
		if err != nil {
			return nil, err
		}
		if err := ParseConfig(name, string(text), environment, s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// ParseConfig reads the text of one configuration file into s. It takes what Courier's imapd, imapd-ssl, pop3d and
// pop3d-ssl hold, a small part of the shell's language: blank lines, comments, and one assignment a line,
//
//	NAME=word 'words' "words with $NAME and ${NAME}"   # comment
//
// with backslashes outside single quotes as the shell reads them. $NAME is the environment's value, else what s holds by
// then, else nothing. Anything else is an error that names file and line, rather than a setting that is not in force. s is
// unchanged after an error.
func ParseConfig(name, text string, environment, s Settings) error {
	work := maps.Clone(s)
	lookup := func(name string) string {
		if value, ok := environment[name]; ok {
			return value
		}
		return work[name]
	}
	for number, line := range strings.Split(text, "\n") {
		p := configLine{rest: line, lookup: lookup}
		setting, value, err := p.assignment()
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, number+1, err)
		}
		if setting != "" {
			work[setting] = value
		}
	}
	maps.Copy(s, work)
	return nil
}

// configLine is what is left of one line.
type configLine struct {
	rest   string
	lookup func(name string) string
}

// assignment returns the line's setting, no name for an empty line.
func (p *configLine) assignment() (name, value string, err error) {
	for i := range len(p.rest) {
		if c := p.rest[i]; c < 0x20 && c != '\t' || c == 0x7f {
			if strings.HasSuffix(p.rest, "\r") {
				return "", "", errors.New("the line ends in CR LF: convert the file to Unix lines")
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
func (p *configLine) word() (string, error) {
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
				return "", errors.New("a line can not be continued on the next")
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
func (p *configLine) quoted(b *strings.Builder) error {
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
func (p *configLine) expand(b *strings.Builder) error {
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
func (p *configLine) name() string {
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
func (p *configLine) blanks() int {
	rest := strings.TrimLeft(p.rest, " \t")
	n := len(p.rest) - len(rest)
	p.rest = rest
	return n
}
