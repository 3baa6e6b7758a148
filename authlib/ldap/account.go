package ldap

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
)

// find returns the only account of that name, with its stored passwords, and the name of its entry.
func (d *directory) find(ctx context.Context, user, service string) (*authlib.Account, string, error) {
	attribute, key := d.mail, user
	if d.domain != "" && !strings.Contains(user, "@") {
		key += "@" + d.domain
	}
	if d.emailmap != "" {
		handle, err := d.handle(ctx, user)
		if err != nil {
			return nil, "", err
		}
		attribute, key = d.emailmapMail, handle
	}
	e, err := d.one(ctx, &query{base: d.base, filter: and(d.filter, equal(attribute, key)), attributes: d.attributes})
	if errors.Is(err, errSeveral) {
		return nil, "", authlib.Unusable(user, "more than one entry with %s=%q below %s", attribute, key, d.base)
	}
	if err != nil {
		return nil, "", err
	}
	a, err := d.account(e, user, service) // what the user typed
	if err != nil {
		return nil, "", err
	}
	return a, e.dn, nil
}

// one returns the only entry that matches; the error is authlib.ErrRefused when there is none, errSeveral when there are more.
func (d *directory) one(ctx context.Context, q *query) (e *entry, err error) {
	q.deref, q.sizeLimit, q.seconds = d.deref, 2, int(d.timeout.Seconds())
	err = d.searches.Do(ctx, func(c *conn) error {
		e, err = c.one(ctx, q)
		return err
	})
	if errors.Is(err, errSeveral) {
		return nil, errSeveral
	}
	if err == nil && e == nil {
		return nil, authlib.ErrRefused
	}
	return e, temporary(err)
}

// handle looks the address up in the e-mail map.
func (d *directory) handle(ctx context.Context, address string) (string, error) {
	local, realm, ok := strings.Cut(address, "@")
	if !ok {
		return "", authlib.ErrRefused // the map has whole addresses only
	}
	f, err := d.mapFilter(local, realm)
	if err != nil {
		return "", fmt.Errorf("%s: LDAP_EMAILMAP: %w", moduleName, err)
	}
	e, err := d.one(ctx, &query{base: d.emailmapBase, filter: f, attributes: []string{d.emailmapAttr}})
	if errors.Is(err, errSeveral) {
		return "", authlib.Unusable(address, "more than one entry in LDAP_EMAILMAP's tree %s", d.emailmapBase)
	}
	if err != nil {
		return "", err
	}
	handle := e.first(d.emailmapAttr)
	if handle == "" {
		return "", authlib.ErrRefused
	}
	return handle, nil
}

// mapFilter puts the parts of an address into LDAP_EMAILMAP, escaped as RFC 4515 section 3 says. Both placeholders are
// replaced in one pass, so that a part that looks like one stays what it is.
func (d *settings) mapFilter(user, realm string) (filter, error) {
	return compile(strings.NewReplacer("@user@", goldap.EscapeFilter(user), "@realm@", goldap.EscapeFilter(realm)).Replace(d.emailmap))
}

// account makes an account of an entry. The error is an *authlib.AccountError.
func (d *directory) account(e *entry, address, service string) (*authlib.Account, error) {
	a := &authlib.Account{Address: address,
		Home: e.first(d.home), Maildir: e.first(d.maildir), Quota: e.first(d.quota), FullName: e.first(d.name),
		ClearPassword: e.first(d.clearPW), CryptPassword: e.first(d.cryptPW)}
	a.FullName, _, _ = strings.Cut(a.FullName, ",")
	if a.Home != "" && d.mailroot != "" {
		a.Home = d.mailroot + "/" + a.Home
	}
	if v := e.first(d.delivery); v != "" && service == "courier" {
		a.Maildir = v
	}
	uid, uidField := d.id(e, d.uid, d.globUID, "LDAP_UID")
	gid, gidField := d.id(e, d.gid, d.globGID, "LDAP_GID")
	if err := a.SetIDs(uidField, uid, gidField, gid, d.home); err != nil {
		return nil, err
	}
	var options []string
	for _, o := range d.options {
		values := e.all(o[0])
		if len(values) == 0 {
			continue
		}
		if strings.Contains(values[0], ",") {
			return nil, authlib.Unusable(address, "%s=%.100q: an option's value, here of %s, cannot have a comma%s",
				o[0], values[0], o[1], separators(o[1]))
		}
		options = append(options, o[1]+"="+values[0])
	}
	a.Options = authlib.Options(strings.Join(options, ","))
	return a, nil
}

// separators says what the administrator probably wants.
func separators(option string) string {
	if option == "mailhost" {
		return ": blanks or semicolons separate mailhosts"
	}
	return ""
}

// id returns the value of an entry's attribute for an id, or the one for all, and what to call it.
func (d *directory) id(e *entry, attribute, all, setting string) (value, field string) {
	if v := e.first(attribute); v != "" {
		return v, attribute
	}
	if attribute == "" {
		attribute = setting
	}
	return all, attribute
}

// matches returns authlib.ErrRefused unless a clear password is the account's: the stored clear password decides alone when there is one.
func matches(a *authlib.Account, clear string) error {
	switch {
	case a.ClearPassword != "":
		if subtle.ConstantTimeCompare([]byte(a.ClearPassword), []byte(clear)) == 1 {
			return nil
		}
	case a.CryptPassword != "":
		return password.Check(a.Address, a.CryptPassword, clear)
	}
	return authlib.ErrRefused
}

func cramMatches(a *authlib.Account, req *authlib.AuthRequest) bool {
	return a.ClearPassword != "" && password.VerifyCRAM(a.ClearPassword, req.Type, req.Challenge, req.Response)
}

// ChangePassword stores a new password after checking the old one: as the administrator, or as the user himself when
// LDAP_AUTHBIND is set. The hash keeps its scheme.
func (m *Module) ChangePassword(ctx context.Context, req *authlib.PasswordRequest) error {
	d, err := m.current()
	if err != nil {
		return err
	}
	a, dn, err := d.find(ctx, req.User, req.Service)
	if err != nil {
		return err
	}
	if err := check(ctx, d, a, dn, req.OldPassword); err != nil {
		return err
	}
	changes := make(map[string]string)
	if d.clearPW != "" && (a.ClearPassword != "" || d.cryptPW == "") {
		changes[d.clearPW] = req.NewPassword
	}
	if d.cryptPW != "" && (a.CryptPassword != "" || a.ClearPassword == "") {
		like := a.CryptPassword
		if like == "" {
			like = "{SSHA}"
		}
		hash, err := password.Hash(like, req.NewPassword)
		if errors.Is(err, password.ErrTooLong) {
			return fmt.Errorf("%w: %w", authlib.ErrRefused, err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", moduleName, err)
		}
		changes[d.cryptPW] = hash
	}
	if len(changes) == 0 {
		return fmt.Errorf("%s: LDAP_CLEARPW and LDAP_CRYPTPW are not set: no attribute to change", moduleName)
	}
	if !d.authBind {
		return temporary(d.searches.Do(ctx, func(c *conn) error { return refused(c.change(ctx, dn, changes)) }))
	}
	return temporary(d.binds.Do(ctx, func(c *conn) error {
		if err := refused(c.bind(ctx, d.version, dn, req.OldPassword)); err != nil {
			return err
		}
		return refused(c.change(ctx, dn, changes))
	}))
}
