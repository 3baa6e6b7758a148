// Package ldap serves accounts from an LDAP directory as Courier's authldaprc describes it.
//
// Names that clients send go into search filters escaped (RFC 4515 section 3). Referrals are not followed.
package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
	"mailproxy/authlib/rcfile"
)

// Module is the authlib.Module authldap.
type Module struct {
	watch *rcfile.Watcher[*directory]
}

// directory is what one state of the settings file made.
type directory struct {
	*settings
	// searches are connections bound as the settings say, binds those on which users prove their passwords.
	searches, binds *connections
}

// New returns the module authldap, configured by file, with at most conns connections for searches, as many
// for binds, and one for each list of all accounts. It does not fail: a file that cannot be used is logged by
// logf, one line each, and requests fail until it can. env returns the LDAPTLS_ settings, which are
// authdaemonrc's.
func New(
	file string,
	conns int,
	env func(name string) string,
	logf func(format string, args ...any),
) *Module {
	m := &Module{}
	m.watch = rcfile.Watch(file, known, func(s *rcfile.Settings) (*directory, error) {
		c, err := newSettings(s, env, logf)
		if err != nil {
			return nil, err
		}
		d := &directory{settings: c}
		d.searches = newConnections(conns, sharing,
			func(ctx context.Context) (*conn, error) { return d.connect(ctx, c.initBind) })
		d.binds = newConnections(conns, 1,
			func(ctx context.Context) (*conn, error) { return d.connect(ctx, false) })
		return d, nil
	}, func(d *directory) {
		go d.searches.Close()
		go d.binds.Close()
	}, logf)
	return m
}

// Name is "authldap".
func (m *Module) Name() string { return "authldap" }

// Close ends all connections as soon as the requests under way are done.
func (m *Module) Close() error {
	m.watch.Close()
	return nil
}

// connect tries the servers in turn, each for as long as LDAP_TIMEOUT. With bind the connection is bound as
// LDAP_BINDDN.
func (d *directory) connect(ctx context.Context, bind bool) (*conn, error) {
	var texts []string
	for _, uri := range d.uris {
		c, err := dial(ctx, uri, d.startTLS, d.tls, d.timeout)
		if err == nil && bind {
			if err = c.bind(ctx, d.bindDN, d.bindPW); err != nil {
				c.close()
				err = fmt.Errorf("bind as LDAP_BINDDN: %w", err)
			}
		}
		if err == nil {
			return c, nil
		}
		texts = append(texts, fmt.Sprintf("%s: %v", uri, err))
	}
	return nil, errors.New(strings.Join(texts, "; "))
}

// Authenticate checks a clear password, or a CRAM response against the stored clear password.
func (m *Module) Authenticate(ctx context.Context, req *authlib.AuthRequest) (*authlib.Account, error) {
	d, release, err := m.watch.Use()
	if err != nil {
		return nil, err
	}
	defer release()
	user, ok := req.Login()
	switch {
	case !ok:
		return nil, authlib.ErrRefused
	case req.Type != authlib.AuthLogin && d.authBind: // for every name
		return nil, fmt.Errorf("%w: LDAP_AUTHBIND is set", authlib.ErrNoSecret)
	}
	a, e, err := d.find(ctx, user, req.Service)
	if err != nil {
		return nil, err
	}
	if req.Type != authlib.AuthLogin {
		if err := d.cramMatches(a, e, req); err != nil {
			return nil, err
		}
		return a, nil
	}
	if err := d.check(ctx, a, e, req.Password); err != nil {
		return nil, err
	}
	a.ClearPassword = req.Password
	return a, nil
}

// check tells whether a clear password is the account's, by asking the server if LDAP_AUTHBIND says so.
func (d *directory) check(ctx context.Context, a *authlib.Account, e *goldap.Entry, clear string) error {
	if !d.authBind {
		return d.matches(ctx, a, e, clear)
	}
	// Servers take an empty one for an anonymous bind, and say yes (RFC 4513 section 5.1.2); long ones keep
	// their CPU busy.
	if clear == "" || len(clear) > password.MaxLength {
		return authlib.ErrRefused
	}
	return d.binds.do(ctx, func(c *conn) error { return refused(a.Address, c.bind(ctx, e.DN, clear)) })
}

// refused turns the answers to a bind that say no, whatever their reason, into authlib.ErrRefused. Where the
// reason is another than a wrong password it follows that, for the log.
func refused(name string, err error) error {
	if !goldap.IsErrorAnyOf(
		err,
		goldap.LDAPResultInvalidCredentials,
		goldap.LDAPResultInappropriateAuthentication,
		goldap.LDAPResultNoSuchObject,
		goldap.LDAPResultUnwillingToPerform,
		goldap.LDAPResultInsufficientAccessRights,
		goldap.LDAPResultConstraintViolation,
		goldap.LDAPResultInvalidDNSyntax,
	) {
		return err
	}
	var policy *policyError
	if errors.As(err, &policy) {
		return fmt.Errorf("%w: account %q: %w", policy.kind, name, err)
	}
	for code, meaning := range activeDirectory {
		if strings.Contains(err.Error(), ", data "+code+",") {
			return fmt.Errorf("%w: account %q: %s: %w", meaning.kind, name, meaning.text, err)
		}
	}
	switch {
	case goldap.IsErrorWithCode(err, goldap.LDAPResultInvalidCredentials):
		return authlib.ErrRefused
	case goldap.IsErrorAnyOf(err, goldap.LDAPResultUnwillingToPerform, goldap.LDAPResultConstraintViolation,
		goldap.LDAPResultInsufficientAccessRights, goldap.LDAPResultInvalidDNSyntax):
		// 389 Directory Server and others: an account that is inactive, or has had too many wrong passwords; one
		// that may not bind. No password was looked at.
		return fmt.Errorf("%w: account %q: %w", authlib.ErrLocked, name, err)
	}
	return fmt.Errorf("%w: account %q: %w", authlib.ErrRefused, name, err)
}

// activeDirectory are the codes in the text of its invalidCredentials that mean something else, from
// Microsoft's list of "LDAP bind error codes".
var activeDirectory = map[string]struct {
	kind error
	text string
}{
	"530": {authlib.ErrLocked, "may not log in at this time"},
	"531": {authlib.ErrLocked, "may not log in at this machine"},
	"532": {authlib.ErrExpired, "the password has expired"},
	"533": {authlib.ErrLocked, "the account is disabled"},
	"701": {authlib.ErrExpired, "the account has expired"},
	"773": {authlib.ErrExpired, "the password must be changed first"},
	"775": {authlib.ErrLocked, "the account is locked"},
}

// Lookup returns the account with its stored passwords.
func (m *Module) Lookup(ctx context.Context, req *authlib.LookupRequest) (*authlib.Account, error) {
	d, release, err := m.watch.Use()
	if err != nil {
		return nil, err
	}
	defer release()
	a, _, err := d.find(ctx, req.User, req.Service)
	return a, err
}

// Enumerate lists the accounts, each under every value of the mail attribute, except accounts without ids or
// home.
func (m *Module) Enumerate(ctx context.Context, yield func(*authlib.Account) error) error {
	d, release, err := m.watch.Use()
	if err != nil {
		return err
	}
	defer release()
	attributes := []string{d.mail, d.home, d.maildir, d.uid, d.gid}
	for _, o := range d.options {
		attributes = append(attributes, o[0])
	}
	attributes = slices.DeleteFunc(attributes, func(name string) bool { return name == "" })
	return d.each(ctx, d.enumerate, attributes, func(e *goldap.Entry) error {
		for _, mail := range e.GetEqualFoldAttributeValues(d.mail) {
			a, err := d.account(e, mail, "")
			if err != nil {
				continue
			}
			if err := yield(a); err != nil {
				return err
			}
		}
		return nil
	})
}
