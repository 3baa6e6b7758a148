package main

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"mailproxy/authlib"
	"mailproxy/authlib/ldap"
	"mailproxy/authlib/mysql"
	"mailproxy/authlib/pgsql"
	"mailproxy/authlib/userdb"
	"mailproxy/internal/maillog"
	"mailproxy/internal/spelling"
)

// setup is what a module may need to know.
type setup struct {
	// directory holds the configuration files.
	directory string
	// oneShot: the process answers one request.
	oneShot bool
	// conns is the number of connections to each database: as many as Courier has with the same setting of
	// daemons.
	conns   int
	ldapTLS map[string]string
	log     *maillog.Log
}

// same tells whether modules opened with the one and the other do the same.
func (s setup) same(o setup) bool {
	return s.directory == o.directory && s.oneShot == o.oneShot && s.conns == o.conns &&
		maps.Equal(s.ldapTLS, o.ldapTLS)
}

// logf writes a line of the log.
type logf func(format string, args ...any)

// openers is the one place that knows the modules there are. Their lines go to warnf, which names the module.
func openers() map[string]func(s setup, warnf logf) authlib.Module {
	return map[string]func(setup, logf) authlib.Module{
		"authuserdb": func(s setup, warnf logf) authlib.Module {
			return userdb.New(userdb.Config{
				Path:    filepath.Join(s.directory, "userdb"),
				OneShot: s.oneShot,
				Log:     func(line string) { warnf("%s", line) },
			})
		},
		"authmysql": func(s setup, warnf logf) authlib.Module {
			return mysql.New(filepath.Join(s.directory, "authmysqlrc"), s.conns, warnf)
		},
		"authpgsql": func(s setup, warnf logf) authlib.Module {
			return pgsql.New(filepath.Join(s.directory, "authpgsqlrc"), s.conns, warnf)
		},
		"authldap": func(s setup, warnf logf) authlib.Module {
			env := func(name string) string { return s.ldapTLS[name] }
			return ldap.New(filepath.Join(s.directory, "authldaprc"), s.conns, env, warnf)
		},
	}
}

// broken stands for a module that cannot serve: clients that it would have answered are told to come back
// later.
type broken struct {
	name string
	err  error
}

func (b *broken) Name() string { return b.name }
func (b *broken) Close() error { return nil }
func (b *broken) Authenticate(context.Context, *authlib.AuthRequest) (*authlib.Account, error) {
	return nil, b.err
}
func (b *broken) Lookup(context.Context, *authlib.LookupRequest) (*authlib.Account, error) {
	return nil, b.err
}
func (b *broken) ChangePassword(context.Context, *authlib.PasswordRequest) error { return b.err }
func (b *broken) Enumerate(context.Context, func(*authlib.Account) error) error  { return b.err }

// startError was reported at the start: Logged keeps it from being reported again.
type startError struct{ error }

func (startError) Logged() bool    { return true }
func (e startError) Unwrap() error { return e.error }

// noModule says which modules there are, instead of the one of that name.
func noModule(name string) error {
	names := slices.Sorted(maps.Keys(openers()))
	hint := ""
	if near := spelling.Nearest(name, names); near != "" {
		hint = fmt.Sprintf(": is %s meant?", near)
	}
	return fmt.Errorf("no such module, there are %s%s", strings.Join(names, ", "), hint)
}

// openModule opens one module; the result is never nil.
func openModule(name string, s setup) authlib.Module {
	open, ok := openers()[name]
	if !ok {
		err := noModule(name)
		s.log.Errf("%s: %v; logins that come to it fail for the time being", name, err)
		return &broken{name, startError{err}}
	}
	warnf := func(format string, args ...any) { s.log.Warnf(name+": "+format, args...) }
	m := open(s, warnf)
	if c, ok := m.(interface{ Check() error }); ok && !s.oneShot {
		if err := c.Check(); err != nil {
			warnf("%v", err)
		}
	}
	return m
}
