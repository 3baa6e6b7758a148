// Package sqlaccount is what authmysql and authpgsql have in common: the settings that make the queries, in
// which all that a client sends is a parameter, the rows that make accounts, and the rules that decide about
// a password.
package sqlaccount

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
	"mailproxy/authlib/rcfile"
)

// queryTimeout is how long a question may take, waiting for a connection and making one included; for a list,
// its next 1,000 rows.
const queryTimeout = 10 * time.Second

// ErrValue says that the database cannot compare a value with what it has; no row can have it.
var ErrValue = errors.New("no row can have the value")

// Backend is a database as the settings describe it. Its methods wait for a connection no longer than their
// context, and for the server's next word no longer than that, or than a time limit of their own. Their error
// is [ErrValue] when no row can have the value, or else one that says why the question could not be answered.
type Backend interface {
	// Query passes each row of the answer, columns in order, NULL as "", to row until that says stop. The slice
	// is valid until row returns.
	Query(ctx context.Context, q *Query, v *Values, row func(columns []string) (stop bool)) error
	// Exec returns how many rows it found.
	Exec(ctx context.Context, q *Query, v *Values) (rows int64, err error)
	// Close ends all connections. Nobody uses the backend any more.
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

// query is Query with a row that may fail, whose error it then returns.
func (g *generation) query(
	ctx context.Context, q *Query, v *Values, row func(columns []string) (stop bool, err error),
) error {
	var own error // not the database's
	err := g.Query(ctx, q, v, func(columns []string) (stop bool) {
		stop, own = row(columns)
		return stop || own != nil
	})
	if own != nil {
		return own
	}
	return err
}

// New returns the module name, configured by file with settings that begin with prefix and queries in the
// dialect d. It does not fail: a file that cannot be used is logged, and requests fail until it can. open
// makes the database from the settings; own are the names, without the prefix, of the settings that it reads.
func New(name, prefix, file string, d *Dialect, own []string, open func(*rcfile.Settings) (Backend, error),
	logf func(format string, args ...any)) *Module {
	m := &Module{name: name}
	m.watch = rcfile.Watch(file, known(prefix, own), func(s *rcfile.Settings) (*generation, error) {
		q, err := newQueries(s, prefix, d)
		if err != nil {
			return nil, err
		}
		b, err := open(s)
		if err != nil {
			return nil, err
		}
		return &generation{Backend: b, queries: q}, nil
	}, func(g *generation) { g.Close() }, logf)
	return m
}

// Name is "authmysql" or "authpgsql".
func (m *Module) Name() string { return m.name }

// Close ends all connections as soon as the requests under way are done.
func (m *Module) Close() error {
	m.watch.Close()
	return nil
}

// Authenticate checks a clear password, or a CRAM response against the stored clear password.
func (m *Module) Authenticate(ctx context.Context, req *authlib.AuthRequest) (*authlib.Account, error) {
	user, ok := req.Login()
	if !ok {
		return nil, authlib.ErrRefused
	}
	a, err := m.find(ctx, user, req.Service)
	if err != nil {
		return nil, err
	}
	if req.Type != authlib.AuthLogin {
		if a.ClearPassword == "" {
			a.ClearPassword = password.Clear(a.CryptPassword)
		}
		switch {
		case a.ClearPassword == "":
			return nil, password.NoSecret(a.Address, a.CryptPassword)
		case !password.VerifyCRAM(a.ClearPassword, req.Type, req.Challenge, req.Response):
			return nil, authlib.ErrRefused
		}
		return a, nil
	}
	if err := matches(ctx, a, req.Password); err != nil {
		return nil, err
	}
	a.ClearPassword = req.Password
	return a, nil
}

// matches returns authlib.ErrRefused unless a clear password is the account's: a hash decides alone when
// there is one.
func matches(ctx context.Context, a *authlib.Account, clear string) error {
	switch {
	case a.CryptPassword != "":
		return password.Check(ctx, a.Address, a.CryptPassword, clear)
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
	g, release, err := m.watch.Use()
	if err != nil {
		return nil, err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	v := g.queries.values(user, service)
	var a *authlib.Account
	var first []string
	err = g.query(ctx, g.queries.find(service), &v, func(columns []string) (bool, error) {
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
		if a, err = account(columns); err != nil {
			return true, err
		}
		if authlib.Spelling(v.User, a.Address) != a.Address {
			a.Address = authlib.Spelling(user, a.Address)
		}
		return false, nil
	})
	var unusable *authlib.AccountError
	switch {
	case errors.As(err, &unusable):
		return nil, unusable
	case errors.Is(err, ErrValue):
		return nil, authlib.ErrRefused // not worth a line in the log, which anybody could fill
	case err != nil:
		return nil, err
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
	if err := matches(ctx, a, req.OldPassword); err != nil {
		return err
	}
	g, release, err := m.watch.Use()
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if g.queries.change == nil {
		return errors.New("the settings do not say how to change a password")
	}
	like := a.CryptPassword
	if like == "" {
		like = "{SSHA}"
	}
	v := g.queries.values(req.User, req.Service)
	v.newPass = req.NewPassword
	if v.newPassCrypt, err = password.Hash(like, req.NewPassword); err != nil {
		return err
	}
	n, err := g.Exec(ctx, g.queries.change, &v)
	switch {
	case errors.Is(err, ErrValue), err == nil && n == 0:
		return authlib.ErrRefused
	}
	return err
}

// Enumerate lists the accounts, except accounts without ids or home, which cannot log in.
func (m *Module) Enumerate(ctx context.Context, yield func(*authlib.Account) error) error {
	g, release, err := m.watch.Use()
	if err != nil {
		return err
	}
	defer release()
	if g.queries.enumerate == nil {
		return errors.New("the settings do not say how to list the accounts")
	}
	// A long list may take as long as it moves on.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := time.AfterFunc(queryTimeout, func() { cancel(context.DeadlineExceeded) })
	defer limit.Stop()
	rows := 0
	err = g.query(ctx, g.queries.enumerate, &Values{service: "enumerate"}, func(columns []string) (bool, error) {
		if rows++; rows%1000 == 0 {
			limit.Reset(queryTimeout)
		}
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
	if errors.Is(err, context.Canceled) {
		err = context.Cause(ctx)
	}
	return err
}
