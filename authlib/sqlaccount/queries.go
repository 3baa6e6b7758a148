package sqlaccount

import (
	"fmt"
	"slices"
	"strings"

	"mailproxy/authlib"
	"mailproxy/authlib/rcfile"
)

// queries are those that the settings ask for.
type queries struct {
	domain            string // DEFAULT_DOMAIN
	standard          *Query
	courier           *Query // for the service "courier"; nil: standard
	enumerate, change *Query // nil: the settings do not say how
}

// settingNames are those of the queries, without the prefix.
var settingNames = []string{
	"USER_TABLE", "LOGIN_FIELD", "CRYPT_PWFIELD", "CLEAR_PWFIELD", "UID_FIELD", "GID_FIELD", "HOME_FIELD",
	"MAILDIR_FIELD", "DEFAULTDELIVERY", "QUOTA_FIELD", "NAME_FIELD", "AUXOPTIONS_FIELD", "AUXOPTIONS",
	"WHERE_CLAUSE", "SELECT_CLAUSE", "ENUMERATE_CLAUSE", "CHPASS_CLAUSE", "DEFAULT_DOMAIN", "CHARACTER_SET",
}

// known returns all settings of a module's file.
func known(prefix string, own []string) []string {
	all := []string{"DEFAULT_DOMAIN"}
	for _, name := range slices.Concat(settingNames, own) {
		all = append(all, prefix+name)
	}
	return all
}

// newQueries reads the settings named prefix + "USER_TABLE" and so on.
func newQueries(s *rcfile.Settings, prefix string, d *Dialect) (*queries, error) {
	get := func(name, def string) string { return s.Default(prefix+name, def) }
	q := &queries{domain: s.First("DEFAULT_DOMAIN", prefix+"DEFAULT_DOMAIN")}
	for _, clause := range []struct {
		name string
		to   **Query
	}{{"SELECT_CLAUSE", &q.standard}, {"ENUMERATE_CLAUSE", &q.enumerate}, {"CHPASS_CLAUSE", &q.change}} {
		if text := get(clause.name, ""); text != "" {
			parsed, err := d.Parse(text)
			if err != nil {
				return nil, s.Wrong(prefix+clause.name, err)
			}
			*clause.to = parsed
		}
	}
	var (
		table   = get("USER_TABLE", "")
		login   = get("LOGIN_FIELD", "id")
		crypt   = get("CRYPT_PWFIELD", "")
		clear   = get("CLEAR_PWFIELD", "")
		uid     = get("UID_FIELD", "uid")
		gid     = get("GID_FIELD", "gid")
		home    = get("HOME_FIELD", "home")
		maildir = get("MAILDIR_FIELD", "''")
		options = get("AUXOPTIONS_FIELD", get("AUXOPTIONS", "''"))
		where   = get("WHERE_CLAUSE", "1=1")
	)
	if q.standard == nil {
		switch {
		case table == "":
			return nil, fmt.Errorf("%sUSER_TABLE is not set", prefix)
		case crypt == "" && clear == "":
			return nil, fmt.Errorf("one of %sCRYPT_PWFIELD and %sCLEAR_PWFIELD must be set", prefix, prefix)
		}
		find := func(maildir string) *Query {
			columns := []string{login, quoteEmpty(crypt), quoteEmpty(clear), uid, gid, home, maildir,
				get("QUOTA_FIELD", "''"), get("NAME_FIELD", "''"), options}
			return newQuery("SELECT " + strings.Join(columns, ", ") + " FROM " + table + " WHERE " + login + " = ").
				param(segment{value: user}).raw(" AND (" + where + ")")
		}
		q.standard = find(maildir)
		if delivery := get("DEFAULTDELIVERY", ""); delivery != "" {
			q.courier = find(delivery)
		}
	}
	if q.enumerate == nil && table != "" {
		columns := []string{login, uid, gid, home, maildir, options}
		q.enumerate = newQuery("SELECT " + strings.Join(columns, ", ") + " FROM " + table + " WHERE " + where)
	}
	if q.change == nil && table != "" && (crypt != "" || clear != "") {
		q.change = newQuery("UPDATE " + table + " SET ")
		if crypt != "" {
			q.change.raw(crypt + " = ").param(segment{value: newPassCrypt})
		}
		if crypt != "" && clear != "" {
			q.change.raw(", ")
		}
		if clear != "" {
			q.change.raw(clear + " = ").param(segment{value: newPass})
		}
		q.change.raw(" WHERE " + login + " = ").param(segment{value: user}).raw(" AND (" + where + ")")
	}
	return q, nil
}

func quoteEmpty(field string) string {
	if field == "" {
		return "''"
	}
	return field
}

func (q *queries) find(service string) *Query {
	if q.courier != nil && service == "courier" {
		return q.courier
	}
	return q.standard
}

// values cuts a login into its parts: the domain begins at the first @, and the default one stands in when
// there is none.
func (q *queries) values(user, service string) Values {
	v := Values{User: user, service: service}
	var given bool
	if v.LocalPart, v.Domain, given = strings.Cut(user, "@"); !given {
		v.Domain = q.domain
		if q.domain != "" {
			v.User = user + "@" + q.domain
		}
	}
	return v
}

// account makes an account of a row: login, crypt, clear, uid, gid, home, and perhaps maildir, quota, name,
// options. The error is an *authlib.AccountError.
func account(c []string) (*authlib.Account, error) {
	a := &authlib.Account{Address: c[0], CryptPassword: c[1], ClearPassword: c[2], Home: c[5]}
	for i, field := range []*string{&a.Maildir, &a.Quota, &a.FullName, (*string)(&a.Options)} {
		if 6+i < len(c) {
			*field = c[6+i]
		}
	}
	a.FullName, _, _ = strings.Cut(a.FullName, ",")
	return a, a.SetIDs("uid", c[3], "gid", c[4], "home")
}

// listed makes an account of a row of an enumeration: login, uid, gid, home, and perhaps maildir, options.
// The error is an *authlib.AccountError.
func listed(c []string) (*authlib.Account, error) {
	a := &authlib.Account{Address: c[0], Home: c[3]}
	if len(c) > 4 {
		a.Maildir = c[4]
	}
	if len(c) > 5 {
		a.Options = authlib.Options(c[5])
	}
	return a, a.SetIDs("uid", c[1], "gid", c[2], "home")
}
