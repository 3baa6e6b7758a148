package sqlaccount

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"mailproxy/authlib"
	"mailproxy/authlib/rcfile"
)

// queries are the templates that the settings ask for.
type queries struct {
	domain            string // DEFAULT_DOMAIN
	standard          *Template
	courier           *Template // for the service "courier"; nil: standard
	enumerate, change *Template // nil: the settings do not say how
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
func newQueries(s *rcfile.Settings, prefix string) (*queries, error) {
	get := func(name, def string) string { return s.Default(prefix+name, def) }
	q := &queries{domain: s.First("DEFAULT_DOMAIN", prefix+"DEFAULT_DOMAIN")}
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
	if text := get("SELECT_CLAUSE", ""); text != "" {
		q.standard = Text(text)
	} else {
		switch {
		case table == "":
			return nil, fmt.Errorf("%sUSER_TABLE is not set", prefix)
		case crypt == "" && clear == "":
			return nil, fmt.Errorf("one of %sCRYPT_PWFIELD and %sCLEAR_PWFIELD must be set", prefix, prefix)
		}
		find := func(maildir string) *Template {
			columns := []string{login, quoteEmpty(crypt), quoteEmpty(clear), uid, gid, home, maildir,
				get("QUOTA_FIELD", "''"), get("NAME_FIELD", "''"), options}
			return raw("SELECT " + strings.Join(columns, ", ") + " FROM " + table + " WHERE " + login + " = ").
				user().Raw(" AND (" + where + ")")
		}
		q.standard = find(maildir)
		if delivery := get("DEFAULTDELIVERY", ""); delivery != "" {
			q.courier = find(delivery)
		}
	}
	if text := get("ENUMERATE_CLAUSE", ""); text != "" {
		q.enumerate = Text(text)
	} else if table != "" {
		columns := []string{login, uid, gid, home, maildir, options}
		q.enumerate = raw("SELECT " + strings.Join(columns, ", ") + " FROM " + table + " WHERE " + where)
	}
	if text := get("CHPASS_CLAUSE", ""); text != "" {
		q.change = Text(text)
	} else if table != "" && (crypt != "" || clear != "") {
		q.change = raw("UPDATE " + table + " SET ")
		if crypt != "" {
			q.change.Raw(crypt + " = ").newPassCrypt()
		}
		if crypt != "" && clear != "" {
			q.change.Raw(", ")
		}
		if clear != "" {
			q.change.Raw(clear + " = ").newPass()
		}
		q.change.Raw(" WHERE " + login + " = ").user().Raw(" AND (" + where + ")")
	}
	return q, q.check()
}

// check finds mistakes in the templates that no dialect makes good, so that a broken file does not replace a
// good one.
func (q *queries) check() error {
	for _, t := range []*Template{q.standard, q.courier, q.enumerate, q.change} {
		if t == nil {
			continue
		}
		var errs []error
		for _, d := range []Dialect{{}, {Backslash: true}, {MySQL: true}, {MySQL: true, Backslash: true}} {
			if _, err := t.Compile(d); err != nil {
				errs = append(errs, err)
			}
		}
		if len(errs) == 4 {
			return errs[0]
		}
	}
	if q.standard == nil {
		return errors.New("no query")
	}
	return nil
}

func quoteEmpty(field string) string {
	if field == "" {
		return "''"
	}
	return field
}

func (q *queries) find(service string) *Template {
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
