package fronttest

import (
	"context"
	"errors"
	"strings"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
)

// clientIP is the one client that the auth module is to be told of.
const clientIP = "::ffff:192.0.2.7"

// auth is an auth module that knows ann (here), bob (on a mailhost), carl (in trouble at the auth module),
// dora (may not use the service), eve (on a mailhost, password not known in clear), fay (on two mailhosts),
// gil (here, with stored SCRAM keys) and hal (here, with a hash that SCRAM cannot use).
type auth struct{ service string }

// account returns a user's account, with the password in clear; nil = there is none.
func (a auth) account(user string) *authlib.Account {
	uid, gid := uint32(1000), uint32(1000)
	account := &authlib.Account{UID: &uid, GID: &gid, Home: "/home/" + user, Address: user}
	switch user {
	case "ann":
		account.ClearPassword = "sec ret"
	case "bob":
		account.ClearPassword, account.Options = "geheim", "mailhost=192.0.2.99"
	case "dora":
		account.ClearPassword, account.Options = "x", authlib.Options("disable"+a.service+"=1")
	case "eve":
		account.ClearPassword, account.Options = "x", "mailhost=192.0.2.99"
	case Fay:
		account.ClearPassword, account.Options = "geheim", "mailhost=192.0.2.99;192.0.2.98"
	case "gil":
		account.CryptPassword = gilsKeys()
	case "hal":
		account.CryptPassword = "{SSHA}bm8gU0NSQU0gd2l0aCB0aGlzIGhhc2gh"
	default:
		return nil
	}
	return account
}

// Authenticate implements login.AuthModule.
func (a auth) Authenticate(_ context.Context, r *authlib.AuthRequest) (*authlib.Account, error) {
	user := r.User
	if r.Type != authlib.AuthLogin {
		user, _, _ = strings.Cut(string(r.Response), " ")
	}
	if user == "carl" {
		return nil, errors.New("database down")
	}
	account := a.account(user)
	if account == nil || r.Service != a.service || r.RemoteIP != clientIP {
		return nil, authlib.ErrRefused
	}
	good := r.Password == account.ClearPassword
	if r.Type != authlib.AuthLogin {
		good = password.VerifyCRAM(account.ClearPassword, r.Type, r.Challenge, r.Response)
	}
	if !good {
		return nil, authlib.ErrRefused
	}
	return hide(account), nil
}

// Lookup implements login.AuthModule.
func (a auth) Lookup(_ context.Context, r *authlib.LookupRequest) (*authlib.Account, error) {
	if r.User == "carl" {
		return nil, errors.New("database down")
	}
	account := a.account(r.User)
	if account == nil || r.Service != a.service || r.RemoteIP != clientIP {
		return nil, authlib.ErrRefused
	}
	return hide(account), nil
}

// hide takes out the password that is not known in clear.
func hide(account *authlib.Account) *authlib.Account {
	if account.Address == "eve" {
		account.ClearPassword = ""
	}
	return account
}
