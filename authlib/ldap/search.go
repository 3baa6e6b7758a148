package ldap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mailproxy/authlib"

	goldap "github.com/go-ldap/ldap/v3"
)

// pageSize is how many entries of an enumeration come at a time.
const pageSize = 500

// equal returns the filter (attribute=value), RFC 4515. No character of the value has a meaning in it.
func equal(attribute, value string) string {
	return "(" + attribute + "=" + goldap.EscapeFilter(value) + ")"
}

// and returns the filter (&(a)(b)); a may be empty.
func and(a, b string) string {
	if a == "" {
		return b
	}
	return "(&" + a + b + ")"
}

// mapFilter puts the parts of an address into LDAP_EMAILMAP, escaped. Both placeholders are replaced in one
// pass, so that a part that looks like one stays what it is.
func (c *settings) mapFilter(user, realm string) string {
	return strings.NewReplacer("@user@", goldap.EscapeFilter(user), "@realm@", goldap.EscapeFilter(realm)).
		Replace(c.emailmap)
}

// query is a search for one entry below a base.
type query struct {
	base, filter string
	attributes   []string
}

// errSeveral says that more than one entry matches.
var errSeveral = errors.New("more than one entry matches")

// entry returns the only entry that matches; the error is authlib.ErrRefused when there is none, errSeveral
// when there are more, or that of the search.
func (d *directory) entry(ctx context.Context, q *query) (found *goldap.Entry, err error) {
	err = d.searches.do(ctx, func(c *conn) error {
		r := goldap.NewSearchRequest(q.base, goldap.ScopeWholeSubtree, d.deref, 2, int(d.timeout.Seconds()), false,
			q.filter, q.attributes, nil)
		result, err := c.search(ctx, r)
		switch {
		case result != nil && len(result.Entries) > 1 &&
			(err == nil || goldap.IsErrorWithCode(err, goldap.LDAPResultSizeLimitExceeded)):
			return errSeveral
		case err != nil:
			return fmt.Errorf("search below %q: %w", q.base, err)
		case len(result.Entries) == 0:
			return authlib.ErrRefused
		}
		found = result.Entries[0]
		return nil
	})
	return found, err
}

// each passes all entries on that match the filter, page by page (RFC 2696), and ends with yield's first
// error. It has a connection of its own: servers keep the position in one list only for each.
func (d *directory) each(
	ctx context.Context,
	filter string,
	attributes []string,
	yield func(*goldap.Entry) error,
) error {
	c, err := d.connect(ctx, d.initBind)
	if err != nil {
		return err
	}
	defer c.close()
	paging := goldap.NewControlPaging(pageSize)
	for {
		r := goldap.NewSearchRequest(d.base, goldap.ScopeWholeSubtree, d.deref, 0, 0, false, filter, attributes,
			[]goldap.Control{paging})
		result, err := c.search(ctx, r)
		if err != nil {
			return fmt.Errorf("search below %q: %w", d.base, err)
		}
		for _, e := range result.Entries {
			if err := yield(e); err != nil {
				return err
			}
		}
		next, ok := goldap.FindControl(result.Controls, goldap.ControlTypePaging).(*goldap.ControlPaging)
		if !ok || len(next.Cookie) == 0 {
			return nil
		}
		paging.SetCookie(next.Cookie)
	}
}

// first returns an attribute's first value, "" when there is none. Names are compared without regard to case.
func first(e *goldap.Entry, attribute string) string {
	if attribute == "" {
		return ""
	}
	return e.GetEqualFoldAttributeValue(attribute)
}
