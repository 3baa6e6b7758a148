// Package sqlaccount is what authmysql and authpgsql have in common: the settings that make the queries, the rows that
// make accounts, and the rules that decide about a password.
package sqlaccount

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
	"mailproxy/authlib/rcfile"
	"mailproxy/authlib/sqlquery"
)

// Backend is a database as the settings describe it. An error of its methods is [sqlquery.ErrValue] when no row can
// have the value, and anything else when the question could not be answered.
type Backend interface {
	// Query passes each row of the answer, columns in order, NULL as "", to row until that says stop.
	Query(ctx context.Context, t *sqlquery.Template, v *sqlquery.Values, row func(columns []string) (stop bool, err error)) error
	// Exec returns how many rows it found.
	Exec(ctx context.Context, t *sqlquery.Template, v *sqlquery.Values) (rows int64, err error)
	// Retire ends the connections as they become idle, Close at once.
	Retire()
	Close()
}

// Module is an [authlib.Module] over an SQL database.
type Module struct {
	name  string
	watch *rcfile.Watcher[*generation]
}

// generation is what one state of the settings file made.
type generation struct {
	Backend
	queries *queries
}

// New returns the module name, configured by file with settings that begin with prefix. It does not fail: a file that
// cannot be used is logged, and requests fail until it can. open makes the database of the settings.
func New(name, prefix, file string, open func(*rcfile.Settings) (Backend, error), logf func(format string, args ...any)) *Module {
	m := &Module{name: name}
	m.watch = rcfile.Watch(file, func(s *rcfile.Settings) (*generation, error) {
		q, err := newQueries(s, prefix)
		if err != nil {
			return nil, err
		}
		b, err := open(s)
		if err != nil {
			return nil, err
		}
		return &generation{Backend: b, queries: q}, nil
	}, func(g *generation) { g.Retire() },
		func(format string, args ...any) { logf(name+": "+format, args...) })
	return m
}

// Name is "authmysql" or "authpgsql".
func (m *Module) Name() string { return m.name }

// Close ends all connections, those of requests under way too.
func (m *Module) Close() error {
	if g, err := m.watch.Current(); err == nil {
		defer g.Close()
	}
	m.watch.Close()
	return nil
}

// Authenticate checks a clear password, or a CRAM response against the stored clear password.
func (m *Module) Authenticate(ctx context.Context, req *authlib.AuthRequest) (*authlib.Account, error) {
	user := req.User
	if req.Type != authlib.AuthLogin {
		i := bytes.LastIndexByte(req.Response, ' ')
		if i < 0 {
			return nil, authlib.ErrRefused
		}
		user = string(req.Response[:i])
	}
	a, err := m.find(ctx, user, req.Service)
	if err != nil {
		return nil, err
	}
	if req.Type != authlib.AuthLogin {
		if a.ClearPassword == "" || !password.VerifyCRAM(a.ClearPassword, req.Type, req.Challenge, req.Response) {
			return nil, authlib.ErrRefused
		}
		return a, nil
	}
	if err := matches(a, req.Password); err != nil {
		return nil, err
	}
	a.ClearPassword = req.Password
	return a, nil
}

// matches returns authlib.ErrRefused unless a clear password is the account's: a hash decides alone when there is one.
func matches(a *authlib.Account, clear string) error {
	switch {
	case a.CryptPassword != "":
		return password.Check(a.Address, a.CryptPassword, clear)
	case a.ClearPassword != "":
		if subtle.ConstantTimeCompare([]byte(a.ClearPassword), []byte(clear)) == 1 {
			return nil
		}
	}
	return authlib.ErrRefused
}

// Lookup returns the account with its stored passwords.
func (m *Module) Lookup(ctx context.Context, req *authlib.LookupRequest) (*authlib.Account, error) {
	return m.find(ctx, req.User, req.Service)
}

// find returns the account with both stored passwords.
func (m *Module) find(ctx context.Context, user, service string) (*authlib.Account, error) {
	g, err := m.watch.Current()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.name, err)
	}
	v := g.queries.values(user, service)
	var a *authlib.Account
	var first []string
	err = g.Query(ctx, g.queries.find(service), &v, func(columns []string) (bool, error) {
		if len(columns) < 6 {
			return true, fmt.Errorf("the query returns %d columns, six at least are needed", len(columns))
		}
		if first != nil {
			// A join may have the account twice, but not two of a name.
			if !slices.Equal(first, columns) {
				return true, authlib.Unusable(user, "more than one row of that name")
			}
			return false, nil
		}
		first = slices.Clone(columns)
		a, err = account(columns)
		return err != nil, err
	})
	var unusable *authlib.AccountError
	switch {
	case errors.As(err, &unusable):
		return nil, unusable
	case errors.Is(err, sqlquery.ErrValue):
		return nil, authlib.ErrRefused // not worth a line in the log, which anybody could fill
	case err != nil:
		return nil, fmt.Errorf("%s: %w", m.name, err)
	case a == nil:
		return nil, authlib.ErrRefused
	}
	return a, nil
}

// ChangePassword stores a new password after checking the old one. The hash keeps its scheme.
func (m *Module) ChangePassword(ctx context.Context, req *authlib.PasswordRequest) error {
	a, err := m.find(ctx, req.User, req.Service)
	if err != nil {
		return err
	}
	if err := matches(a, req.OldPassword); err != nil {
		return err
	}
	g, err := m.watch.Current()
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	if g.queries.change == nil {
		return fmt.Errorf("%s: the settings do not say how to change a password", m.name)
	}
	like := a.CryptPassword
	if like == "" {
		like = "{SSHA}"
	}
	v := g.queries.values(req.User, req.Service)
	v.NewPass = req.NewPassword
	v.NewPassCrypt, err = password.Hash(like, req.NewPassword)
	switch {
	case errors.Is(err, password.ErrTooLong):
		return fmt.Errorf("%w: %w", authlib.ErrRefused, err)
	case err != nil:
		return fmt.Errorf("%s: %w", m.name, err)
	}
	n, err := g.Exec(ctx, g.queries.change, &v)
	switch {
	case errors.Is(err, sqlquery.ErrValue), err == nil && n == 0:
		return authlib.ErrRefused
	case err != nil:
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}

// Enumerate lists the accounts, but for those without ids or home, which nobody can log in to.
func (m *Module) Enumerate(ctx context.Context, yield func(*authlib.Account) error) error {
	g, err := m.watch.Current()
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	if g.queries.enumerate == nil {
		return fmt.Errorf("%s: the settings do not say how to list the accounts", m.name)
	}
	err = g.Query(ctx, g.queries.enumerate, &sqlquery.Values{Service: "enumerate"}, func(columns []string) (bool, error) {
		if len(columns) < 4 {
			return true, fmt.Errorf("the query returns %d columns, four at least are needed", len(columns))
		}
		a, err := listed(columns)
		if err != nil {
			return false, nil
		}
		err = yield(a)
		return err != nil, err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}
