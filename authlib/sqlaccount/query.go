package sqlaccount

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Values are what the placeholders of a query stand for in one request.
type Values struct {
	LocalPart, Domain, service string
	// User is the whole login, for the queries that are generated from field names.
	User string
	// newPass and newPassCrypt are a new password and its hash.
	newPass, newPassCrypt string
}

// value is one of the Values.
type value func(*Values) string

func user(v *Values) string         { return v.User }
func newPass(v *Values) string      { return v.newPass }
func newPassCrypt(v *Values) string { return v.newPassCrypt }

// valueOf returns what $(name) stands for; an unknown placeholder is empty, as with Courier.
func valueOf(name string) value {
	switch name {
	case "local_part":
		return func(v *Values) string { return v.LocalPart }
	case "domain":
		return func(v *Values) string { return v.Domain }
	case "service":
		return func(v *Values) string { return v.service }
	case "newpass":
		return newPass
	case "newpass_crypt":
		return newPassCrypt
	}
	return func(*Values) string { return "" }
}

// Query is an SQL statement with parameters. No value is ever a part of its text.
type Query struct {
	text   []string // what stands before, between and behind the parameters
	params []param
}

// param is a parameter: the concatenation of its segments.
type param []segment

// segment is fixed text and what follows it, when that is not nil.
type segment struct {
	text  string
	value value
}

// newQuery returns a query that begins with SQL as it is.
func newQuery(sql string) *Query { return &Query{text: []string{sql}} }

// raw appends SQL as it is.
func (q *Query) raw(sql string) *Query {
	q.text[len(q.text)-1] += sql
	return q
}

// param appends a parameter.
func (q *Query) param(p ...segment) *Query {
	q.params, q.text = append(q.params, p), append(q.text, "")
	return q
}

// SQL returns the text, in which mark stands for the n-th parameter, counted from 1.
func (q *Query) SQL(mark func(n int) string) string {
	var b strings.Builder
	for i, text := range q.text {
		if i > 0 {
			b.WriteString(mark(i))
		}
		b.WriteString(text)
	}
	return b.String()
}

// Params returns the parameters, strings, for these values.
func (q *Query) Params(v *Values) []any {
	params := make([]any, len(q.params))
	for i, p := range q.params {
		text := ""
		for _, s := range p {
			if text += s.text; s.value != nil {
				text += s.value(v)
			}
		}
		params[i] = text
	}
	return params
}

// Dialect is what there is to know of a server's SQL to see where a placeholder stands.
type Dialect struct {
	tokens *regexp.Regexp
	quotes string // of strings; the others are those of names
	dollar bool   // $ begins a string or a parameter, unless it is in a name
}

// A string or name ends at its quote, whether a backslash escapes or not: one in front of a quote, where that
// makes a difference, is not understood.
const (
	placeholder  = `\$\([^)]*\)`
	quoted       = `'(?:[^'\\]|''|\\[^'])*'|"(?:[^"\\]|""|\\[^"])*"`
	blockComment = `/\*.*?\*/|/\*`
)

// MySQL and PostgreSQL are the dialects.
var (
	MySQL = &Dialect{
		tokens: regexp.MustCompile(`(?s)` + placeholder + `|` + quoted + "|`[^`]*`|" + blockComment +
			`|(?:#|--(?:\s|$))[^\n]*|.`),
		quotes: `'"`,
	}
	PostgreSQL = &Dialect{
		tokens: regexp.MustCompile(`(?s)` + placeholder + `|` + quoted + `|` + blockComment + `|--[^\n]*|.`),
		quotes: `'`,
		dollar: true,
	}
)

var (
	placeholders = regexp.MustCompile(placeholder)
	// before and after are what would be one token with a parameter, or is the first half of a literal, such as
	// E'...', U&'...' and _utf8mb4 '...', or of two strings that the server joins.
	before = regexp.MustCompile("(?:[\\w$&`[:^ascii:]]|['\"]\\s*|\\b_\\w+\\s+)$")
	after  = regexp.MustCompile("^[\\w$'\"`[:^ascii:]]")
	inName = regexp.MustCompile(`[\w[:^ascii:]]$`)
)

var (
	errOpen = errors.New(
		"a quote or comment is not closed, or a backslash stands before a quote, which servers read in two ways")
	errComment   = errors.New("a placeholder stands in a comment")
	errName      = errors.New("a placeholder stands in a quoted name; it can stand for a value only")
	errBackslash = errors.New(
		"a placeholder stands in a string with a backslash, which servers do not read alike")
	errGlue = errors.New(
		"a placeholder, or the string that it is in, touches a name, a prefix such as E or _utf8mb4, or a string")
	errDollar = errors.New("a $ that begins no placeholder stands outside of '...'")
)

// Parse makes a query of SQL with placeholders such as $(local_part). Courier pastes escaped values into the
// text. Here a placeholder that stands alone, or the whole string in quotes that it stands in, becomes one
// parameter. What cannot be one, or is not understood, is an error.
func (d *Dialect) Parse(sql string) (*Query, error) {
	q := newQuery("")
	for _, at := range d.tokens.FindAllStringIndex(sql, -1) {
		token, left, right := sql[at[0]:at[1]], sql[:at[0]], sql[at[1]:]
		first := token[:1]
		var err error
		switch {
		case token == "/*", len(token) == 1 && strings.Contains("'\"`", token):
			err = errOpen
		case token == "$" && d.dollar && !inName.MatchString(left):
			err = errDollar
		case !placeholders.MatchString(token):
			q.raw(token)
			continue
		case first == "/", first == "-", first == "#":
			err = errComment
		case first != "$" && !strings.Contains(d.quotes, first):
			err = errName
		case first != "$" && strings.Contains(token, `\`):
			err = errBackslash
		case before.MatchString(left), after.MatchString(right),
			strings.IndexAny(strings.TrimSpace(right), d.quotes) == 0:
			err = errGlue
		case first == "$":
			q.param(cut(token)...)
		default:
			q.param(cut(strings.ReplaceAll(token[1:len(token)-1], first+first, first))...)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %.60s, character %d of the query", err, token, at[0]+1)
		}
	}
	return q, nil
}

// cut splits text at its placeholders.
func cut(text string) (p param) {
	from := 0
	for _, at := range placeholders.FindAllStringIndex(text, -1) {
		p = append(p, segment{text[from:at[0]], valueOf(text[at[0]+2 : at[1]-1])})
		from = at[1]
	}
	return append(p, segment{text: text[from:]})
}
