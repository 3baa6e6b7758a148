package ldap

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
)

// find returns the only account of that name, with its first stored passwords, and its entry.
func (d *directory) find(ctx context.Context, user, service string) (*authlib.Account, *goldap.Entry, error) {
	attribute, key := d.mail, user
	whole := strings.Contains(user, "@")
	if d.domain != "" && !whole {
		key += "@" + d.domain
	}
	if d.emailmap != "" && whole { // the map has whole addresses only
		handle, err := d.handle(ctx, user)
		if err != nil {
			return nil, nil, err
		}
		attribute, key = d.emailmapMail, handle
	}
	e, err := d.entry(ctx,
		&query{base: d.base, filter: and(d.filter, equal(attribute, key)), attributes: d.attributes})
	if errors.Is(err, errSeveral) {
		return nil, nil, authlib.Unusable(user, "more than one entry with %s=%q below %s", attribute, key, d.base)
	}
	if err != nil {
		return nil, nil, err
	}
	a, err := d.account(e, authlib.Spelling(user, values(e, d.mail)...), service)
	if err != nil {
		return nil, nil, err
	}
	return a, e, nil
}

// handle looks the address up in the e-mail map.
func (d *directory) handle(ctx context.Context, address string) (string, error) {
	local, realm, _ := strings.Cut(address, "@")
	e, err := d.entry(ctx,
		&query{base: d.emailmapBase, filter: d.mapFilter(local, realm), attributes: []string{d.emailmapAttr}})
	if errors.Is(err, errSeveral) {
		return "", authlib.Unusable(address, "more than one entry in LDAP_EMAILMAP's tree %s", d.emailmapBase)
	}
	if err != nil {
		return "", err
	}
	handle := first(e, d.emailmapAttr)
	if handle == "" {
		return "", authlib.ErrRefused
	}
	return handle, nil
}

// account makes an account of an entry. The error is an *authlib.AccountError.
func (d *directory) account(e *goldap.Entry, address, service string) (*authlib.Account, error) {
	a := &authlib.Account{Address: address,
		Home: first(e, d.home), Maildir: first(e, d.maildir), Quota: first(e, d.quota), FullName: first(e, d.name),
		ClearPassword: first(e, d.clearPW), CryptPassword: first(e, d.cryptPW)}
	a.FullName, _, _ = strings.Cut(a.FullName, ",")
	if a.Home != "" && d.mailroot != "" {
		a.Home = d.mailroot + "/" + a.Home
	}
	if v := first(e, d.delivery); v != "" && service == "courier" {
		a.Maildir = v
	}
	uid, uidField := d.id(e, d.uid, d.globUID, "LDAP_UID")
	gid, gidField := d.id(e, d.gid, d.globGID, "LDAP_GID")
	if err := a.SetIDs(uidField, uid, gidField, gid, d.home); err != nil {
		return nil, err
	}
	var options []string
	for _, o := range d.options {
		values := e.GetEqualFoldAttributeValues(o[0])
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
func (d *directory) id(e *goldap.Entry, attribute, all, setting string) (value, field string) {
	if v := first(e, attribute); v != "" {
		return v, attribute
	}
	if attribute == "" {
		attribute = setting
	}
	return all, attribute
}

// matches returns authlib.ErrRefused unless a clear password is one of the entry's: stored clear passwords
// decide alone when there are some, else any of the hashes. The account then has the one that matched.
func (d *directory) matches(ctx context.Context, a *authlib.Account, e *goldap.Entry, clear string) error {
	stored := values(e, d.clearPW)
	for _, v := range stored {
		if subtle.ConstantTimeCompare([]byte(v), []byte(clear)) == 1 {
			return nil
		}
	}
	if len(stored) > 0 {
		return authlib.ErrRefused
	}
	var result error
	for _, hash := range values(e, d.cryptPW) {
		err := password.Check(ctx, a.Address, hash, clear)
		if err == nil {
			a.CryptPassword = hash
			return nil
		}
		// An unusable hash is an error only if there is no usable one.
		if result == nil || errors.Is(err, authlib.ErrRefused) {
			result = err
		}
	}
	if result == nil {
		return authlib.ErrRefused
	}
	return result
}

// values returns the values of an attribute that are not empty.
func values(e *goldap.Entry, attribute string) []string {
	if attribute == "" {
		return nil
	}
	all := slices.Clone(e.GetEqualFoldAttributeValues(attribute))
	return slices.DeleteFunc(all, func(v string) bool { return v == "" })
}

// cramMatches returns authlib.ErrRefused unless the answer to a challenge was made with one of the entry's
// clear passwords, which the account then has.
func (d *directory) cramMatches(a *authlib.Account, e *goldap.Entry, req *authlib.AuthRequest) error {
	all := values(e, d.clearPW)
	if len(all) == 0 {
		for _, hash := range values(e, d.cryptPW) {
			if clear := password.Clear(hash); clear != "" {
				all = append(all, clear)
			}
		}
	}
	for _, clear := range all {
		if password.VerifyCRAM(clear, req.Type, req.Challenge, req.Response) {
			a.ClearPassword = clear
			return nil
		}
	}
	if len(all) == 0 {
		return password.NoSecret(a.Address, a.CryptPassword)
	}
	return authlib.ErrRefused
}

// declined turns the answer to a change that a policy for passwords did not let pass into authlib.ErrRefused.
// That the rights do not suffice, or that the server is unwilling, is not the user's fault.
func declined(err error) error {
	if goldap.IsErrorWithCode(err, goldap.LDAPResultConstraintViolation) {
		return fmt.Errorf("%w: new password: %w", authlib.ErrRefused, err)
	}
	if err != nil {
		return fmt.Errorf("change of a password: %w", err)
	}
	return nil
}

// ChangePassword stores a new password after checking the old one: as the administrator, or as the user
// itself when LDAP_AUTHBIND is set. The hash keeps its scheme.
func (m *Module) ChangePassword(ctx context.Context, req *authlib.PasswordRequest) error {
	d, release, err := m.watch.Use()
	if err != nil {
		return err
	}
	defer release()
	a, e, err := d.find(ctx, req.User, req.Service)
	if err != nil {
		return err
	}
	dn := e.DN
	if err := d.check(ctx, a, e, req.OldPassword); err != nil {
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
		if err != nil {
			return err
		}
		changes[d.cryptPW] = hash
	}
	if len(changes) == 0 {
		return errors.New("LDAP_CLEARPW and LDAP_CRYPTPW are not set: no attribute to change")
	}
	if !d.authBind {
		return d.searches.do(ctx, func(c *conn) error { return declined(c.change(ctx, dn, changes)) })
	}
	return d.binds.do(ctx, func(c *conn) error {
		if err := refused(a.Address, c.bind(ctx, dn, req.OldPassword)); err != nil {
			return err
		}
		return declined(c.change(ctx, dn, changes))
	})
}
