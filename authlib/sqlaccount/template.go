package sqlaccount

import (
	"errors"
	"fmt"
	"strings"
)

// A template is SQL with placeholders such as $(local_part). Courier pastes escaped values into the text.
// Here a string literal that holds a placeholder becomes one parameter as a whole: its fixed text is decoded
// by the server's rules when the template is compiled, and a value only ever travels beside the statement. A
// placeholder outside of a literal becomes a parameter as well. Where SQL takes no parameter the value is
// written so that it cannot end its token: hex digits after a MySQL character set introducer, doubled quotes
// in a quoted identifier. What is left (a piece of an unquoted name; PostgreSQL's bit, hexadecimal and
// Unicode strings) is refused as a mistake in the settings.

// Values are what the placeholders stand for in one request.
type Values struct {
	LocalPart, Domain, service string
	// User is the whole login, for the queries that are generated from field names.
	User string
	// newPass and newPassCrypt are a new password and its hash.
	newPass, newPassCrypt string
}

// field names one of the Values.
type field int

const (
	none field = iota // an unknown placeholder: always empty
	localPart
	domain
	service
	user
	newPass
	newPassCrypt
)

func fieldOf(name string) field {
	switch name {
	case "local_part":
		return localPart
	case "domain":
		return domain
	case "service":
		return service
	case "newpass":
		return newPass
	case "newpass_crypt":
		return newPassCrypt
	}
	return none
}

func (v *Values) get(f field) string {
	switch f {
	case localPart:
		return v.LocalPart
	case domain:
		return v.Domain
	case service:
		return v.service
	case user:
		return v.User
	case newPass:
		return v.newPass
	case newPassCrypt:
		return v.newPassCrypt
	}
	return ""
}

// Template is a query before the server's rules are known.
type Template struct {
	pieces []piece
	text   bool // one piece, with placeholders
}

type piece struct {
	raw   string
	param field // in place of raw, when not none
}

// Text makes a template of SQL with placeholders.
func Text(sql string) *Template { return &Template{pieces: []piece{{raw: sql}}, text: true} }

// raw starts a template of SQL that is taken as it is.
func raw(sql string) *Template { return new(Template).Raw(sql) }

// Raw appends SQL that is taken as it is.
func (t *Template) Raw(sql string) *Template {
	t.pieces = append(t.pieces, piece{raw: sql})
	return t
}

// user, newPass and newPassCrypt append one of the values.
func (t *Template) user() *Template         { return t.param(user) }
func (t *Template) newPass() *Template      { return t.param(newPass) }
func (t *Template) newPassCrypt() *Template { return t.param(newPassCrypt) }

func (t *Template) param(f field) *Template {
	t.pieces = append(t.pieces, piece{param: f})
	return t
}

// Query is a compiled template.
type Query struct {
	sql    []token // fixed text, and what depends on values
	params []literal
	fixed  string // the whole statement when nothing in it depends on values
}

// token is a piece of the statement: text, or values written by quote.
type token struct {
	text  string
	value literal
	quote func(b *strings.Builder, value string)
	// narrow refuses values beyond ASCII: their last byte could swallow the closing quote.
	narrow bool
}

// literal is the decoded text of a string literal, cut at its placeholders.
type literal []segment

type segment struct {
	text  string
	field field
}

func (l literal) dynamic() bool {
	for _, s := range l {
		if s.field != none {
			return true
		}
	}
	return false
}

func (l literal) value(v *Values) string {
	if len(l) == 1 {
		if l[0].field == none {
			return l[0].text
		}
		return v.get(l[0].field)
	}
	var b strings.Builder
	for _, s := range l {
		b.WriteString(s.text)
		b.WriteString(v.get(s.field))
	}
	return b.String()
}

// ErrValue says that a value cannot be written where the template wants it; no row can have it.
var ErrValue = errors.New("the value cannot stand where the query wants it")

// Fixed returns the statement, when it is the same for all values and can be prepared once.
func (q *Query) Fixed() (string, bool) { return q.fixed, q.fixed != "" }

// SQL returns the statement for these values, and the parameters, strings, that go with it. The error is
// [ErrValue].
func (q *Query) SQL(v *Values) (text string, params []any, err error) {
	params = make([]any, len(q.params))
	for i, p := range q.params {
		params[i] = p.value(v)
	}
	text, err = q.text(v)
	return text, params, err
}

func (q *Query) text(v *Values) (string, error) {
	if q.fixed != "" {
		return q.fixed, nil
	}
	var b strings.Builder
	for _, t := range q.sql {
		if t.quote == nil {
			b.WriteString(t.text)
			continue
		}
		value := t.value.value(v)
		if strings.IndexByte(value, 0) >= 0 || t.narrow && !ascii(value) {
			return "", ErrValue
		}
		t.quote(&b, value)
	}
	return b.String(), nil
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Compile applies a server's rules. The error says what in the template cannot be used.
func (t *Template) Compile(d Dialect) (*Query, error) {
	c := &compiler{d: d, q: &Query{}}
	for _, p := range t.pieces {
		switch {
		case p.param != none:
			c.addParam(literal{{field: p.param}})
		case t.text:
			if err := c.scan(p.raw); err != nil {
				return nil, fmt.Errorf("query %q: %w", p.raw, err)
			}
		default:
			c.text.WriteString(p.raw)
		}
	}
	c.flush()
	dynamic := false
	for _, tok := range c.q.sql {
		dynamic = dynamic || tok.quote != nil
	}
	if !dynamic {
		for _, tok := range c.q.sql {
			c.q.fixed += tok.text
		}
	}
	return c.q, nil
}
