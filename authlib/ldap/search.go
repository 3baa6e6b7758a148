package ldap

import (
	"context"
	"errors"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"mailproxy/authlib/pool"
)

// filter is an encoded search filter.
type filter string

// compile encodes a filter written as RFC 4515 says.
func compile(text string) (filter, error) {
	p, err := goldap.CompileFilter(text)
	if err != nil {
		return "", err
	}
	return filter(p.Bytes()), nil
}

// equal returns the filter (attribute=value). No character of the value has a meaning in it.
func equal(attribute, value string) filter {
	var e encoder
	e.equal(attribute, value)
	return filter(e.b)
}

const (
	filterAnd   = 0xa0
	filterEqual = 0xa3
)

func (e *encoder) equal(attribute, value string) {
	match := e.open(filterEqual)
	e.str(tagString, attribute)
	e.str(tagString, value)
	e.close(match)
}

// and returns the filter (&(a)(b)); a may be empty.
func and(a, b filter) filter {
	if a == "" {
		return b
	}
	var e encoder
	list := e.open(filterAnd)
	e.b = append(append(e.b, a...), b...)
	e.close(list)
	return filter(e.b)
}

// query is a search below a base.
type query struct {
	base       string
	deref      int
	filter     filter
	attributes []string
	sizeLimit  int // entries; 0 = all
	seconds    int // the server's own limit
	page       int // entries a page; 0 = all at once
}

// entry is what a search found: a name, and the attributes that it asked for.
type entry struct {
	dn         string
	attributes []attribute
}

type attribute struct {
	name   string
	values []string
}

// all returns an attribute's values. Names are compared without regard to case.
func (e *entry) all(name string) []string {
	for i := range e.attributes {
		if strings.EqualFold(e.attributes[i].name, name) {
			return e.attributes[i].values
		}
	}
	return nil
}

// first returns an attribute's first value, "" when there is none.
func (e *entry) first(name string) string {
	if name == "" {
		return ""
	}
	if values := e.all(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// search passes each entry to yield, and stops at its first error.
func (c *conn) search(ctx context.Context, q *query, yield func(*entry) error) error {
	cookie := ""
	for found := 0; ; {
		var err error
		cookie, err = c.searchPage(ctx, q, cookie, func(e *entry) error {
			found++
			return yield(e)
		})
		if err != nil && found > 0 && pool.Marked(err) {
			return pool.Final(err) // the caller has seen half of it
		}
		if err != nil || cookie == "" {
			return err
		}
	}
}

func (c *conn) searchPage(ctx context.Context, q *query, cookie string, yield func(*entry) error) (string, error) {
	ends := c.begin(searchRequest)
	c.enc.str(tagString, q.base)
	c.enc.num(tagEnumerated, goldap.ScopeWholeSubtree)
	c.enc.num(tagEnumerated, q.deref)
	c.enc.num(tagInteger, q.sizeLimit)
	c.enc.num(tagInteger, q.seconds)
	c.enc.b = append(c.enc.b, tagBoolean, 1, 0)
	c.enc.b = append(c.enc.b, q.filter...)
	list := c.enc.open(tagSequence)
	for _, name := range q.attributes {
		c.enc.str(tagString, name)
	}
	c.enc.close(list)
	if q.page > 0 {
		c.enc.close(ends[1])
		ends[1] = 0
		c.paged(q.page, cookie)
	}
	if err := c.send(ctx, ends); err != nil {
		return "", err
	}
	for {
		op, rest, err := c.receive()
		if err != nil {
			return "", err
		}
		switch op.tag {
		case searchEntry:
			e, err := parseEntry(op.content)
			if err != nil {
				return "", pool.Dead(err)
			}
			if err := yield(e); err != nil {
				return "", pool.Final(err) // there is more to come on this connection
			}
			if q.page > 0 {
				if err := c.net.SetDeadline(pool.Deadline(ctx, c.limit)); err != nil {
					return "", pool.Dead(err)
				}
			}
		case searchReference: // to another server: not ours to follow
		case searchDone:
			if err := result("search", op.content); err != nil {
				return "", err
			}
			return nextPage(rest), nil
		default:
			return "", pool.Dead(errBER)
		}
	}
}

// paged appends the control of RFC 2696.
func (c *conn) paged(size int, cookie string) {
	var v encoder
	seq := v.open(tagSequence)
	v.num(tagInteger, size)
	v.str(tagString, cookie)
	v.close(seq)
	list := c.enc.open(controls)
	control := c.enc.open(tagSequence)
	c.enc.str(tagString, oidPaged)
	c.enc.str(tagString, string(v.b))
	c.enc.close(control)
	c.enc.close(list)
}

// nextPage returns the cookie for the next page, "" when there is none.
func nextPage(b []byte) string {
	list, _, err := expect(b, controls)
	for err == nil && len(list) > 0 {
		var control, oid, v, inner []byte
		if control, list, err = expect(list, tagSequence); err != nil {
			break
		}
		if oid, control, err = expect(control, tagString); err != nil || string(oid) != oidPaged {
			continue
		}
		if len(control) > 0 && control[0] == tagBoolean {
			if _, control, err = expect(control, tagBoolean); err != nil {
				break
			}
		}
		if v, _, err = expect(control, tagString); err != nil {
			break
		}
		if inner, _, err = expect(v, tagSequence); err != nil {
			break
		}
		if _, inner, err = expect(inner, tagInteger); err != nil {
			break
		}
		cookie, _, err := expect(inner, tagString)
		if err != nil {
			break
		}
		return string(cookie)
	}
	return ""
}

// parseEntry decodes a SearchResultEntry; the strings are its own.
func parseEntry(b []byte) (*entry, error) {
	text := string(b) // one allocation for all of them
	at := func(part []byte) string {
		start := cap(b) - cap(part)
		return text[start : start+len(part)]
	}
	dn, rest, err := expect(b, tagString)
	if err != nil {
		return nil, err
	}
	e := &entry{dn: at(dn), attributes: make([]attribute, 0, 12)}
	list, _, err := expect(rest, tagSequence)
	for err == nil && len(list) > 0 {
		var one, name, set []byte
		if one, list, err = expect(list, tagSequence); err != nil {
			break
		}
		if name, one, err = expect(one, tagString); err != nil {
			break
		}
		if set, _, err = expect(one, tagSet); err != nil {
			break
		}
		a := attribute{name: at(name)}
		for len(set) > 0 {
			var v []byte
			if v, set, err = expect(set, tagString); err != nil {
				return nil, err
			}
			a.values = append(a.values, at(v))
		}
		e.attributes = append(e.attributes, a)
	}
	return e, err
}

// errSeveral says that more than one entry matches.
var errSeveral = errors.New("more than one entry matches")

// one returns the only entry that matches; nil when there is none. The error is errSeveral, or that of the search.
func (c *conn) one(ctx context.Context, q *query) (found *entry, err error) {
	n := 0
	_, err = c.searchPage(ctx, q, "", func(e *entry) error {
		n++
		found = e
		return nil
	})
	var r *resultError
	if n > 1 && (err == nil || errors.As(err, &r) && r.code == goldap.LDAPResultSizeLimitExceeded) {
		return nil, errSeveral
	}
	if errors.As(err, &r) && r.code == goldap.LDAPResultNoSuchObject {
		return nil, nil // the base itself is missing
	}
	return found, err
}
