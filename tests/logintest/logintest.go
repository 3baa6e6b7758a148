// Package logintest has what tests of logins need around them, made up: accounts, and servers that hold them.
package logintest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"mailproxy/authlib"
	"mailproxy/internal/mailhost"
	"mailproxy/tests/relaytest"
)

// Auth is an auth module that answers from a list of accounts with passwords, and records what it was asked.
type Auth struct {
	Accounts map[string]*authlib.Account // by name; ClearPassword is the password
	Err      error                       // instead of any answer
	// Remembered accounts are what a question that is not Fresh is answered, by name.
	Remembered map[string]*authlib.Account
	Asked      []string
	// MaxPassword is the longest password that is looked at, as authdaemond has it; 0 = any.
	MaxPassword int
}

// NewAuth returns one without accounts.
func NewAuth() *Auth { return &Auth{Accounts: map[string]*authlib.Account{}} }

// Add adds an account; its password is "secret".
func (a *Auth) Add(name, options string) *authlib.Account {
	uid, gid := uint32(1000), uint32(1001)
	account := &authlib.Account{
		Address: name, ClearPassword: "secret", Options: authlib.Options(options), Home: "/home/" + name,
		UID: &uid, GID: &gid,
	}
	a.Accounts[name] = account
	return account
}

// Authenticate is part of login.AuthModule.
func (a *Auth) Authenticate(_ context.Context, r *authlib.AuthRequest) (*authlib.Account, error) {
	a.Asked = append(a.Asked,
		fmt.Sprintf("%s %s %s %s %s %s", r.Type, r.Service, r.User, r.Password, r.Response, r.RemoteIP))
	user, ok := r.Login()
	account := a.account(user, r.Fresh)
	switch {
	case a.Err != nil:
		return nil, a.Err
	case a.MaxPassword > 0 && len(r.Password) > a.MaxPassword:
		return nil, authlib.ErrTooLong
	case !ok || account == nil || r.Type == authlib.AuthLogin && account.ClearPassword != r.Password:
		return nil, authlib.ErrRefused
	}
	return account, nil
}

// Lookup is part of login.AuthModule.
func (a *Auth) Lookup(_ context.Context, r *authlib.LookupRequest) (*authlib.Account, error) {
	a.Asked = append(a.Asked, fmt.Sprintf("lookup %s %s %s", r.Service, r.User, r.RemoteIP))
	account := a.account(r.User, r.Fresh)
	if account == nil {
		return nil, authlib.ErrRefused
	}
	return account, a.Err
}

func (a *Auth) account(name string, fresh bool) *authlib.Account {
	if old := a.Remembered[name]; old != nil && !fresh {
		return old
	}
	return a.Accounts[name]
}

// Mailhosts are servers that hold accounts, and the name server that knows them.
type Mailhosts struct {
	// Hosts maps names to addresses.
	Hosts map[string][]string
	// Servers maps "ip:port" to what the login at the mailhost there does. Elsewhere nobody listens.
	Servers map[string]mailhost.Login
	// Dialed is where connections went to.
	Dialed []string

	t testing.TB
}

// NewMailhosts returns no servers.
func NewMailhosts(t testing.TB) *Mailhosts {
	return &Mailhosts{Hosts: map[string][]string{}, Servers: map[string]mailhost.Login{}, t: t}
}

// Resolve is mailhost.Dialer's Lookup.
func (h *Mailhosts) Resolve(_ context.Context, host string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, a := range h.Hosts[host] {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	if addrs == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

// Dial is mailhost.Dialer's.
func (h *Mailhosts) Dial(_ context.Context, addr netip.AddrPort) (net.Conn, error) {
	h.Dialed = append(h.Dialed, addr.String())
	if h.Servers[addr.String()] == nil {
		return nil, errors.New("nobody listens")
	}
	_, conn := relaytest.TCP(h.t, 0)
	return conn, nil
}

// LogIn is a protocol's dialogue with a mailhost.
func (h *Mailhosts) LogIn(ctx context.Context, m *mailhost.Conn) error {
	return h.Servers[m.Addr](ctx, m)
}

// Says is a mailhost that logins end at with err.
func Says(err error) mailhost.Login {
	return func(context.Context, *mailhost.Conn) error { return err }
}
