package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
	"mailproxy/internal/loglimit"
	"mailproxy/internal/maillog"
	"mailproxy/internal/text"
)

// complaintPause is how long an account that the log has named is not named again.
const complaintPause = time.Minute

// asker asks the modules in order: success ends it, "not mine" goes on to the next, a failure ends it without
// an answer. It may be used by many goroutines at once.
type asker struct {
	log      *maillog.Log
	settings *settings
	// setup is what the modules were opened with.
	setup   setup
	modules []*served
	// cache is nil when it is off.
	cache *cache
	now   func() time.Time
	// complaints are about accounts: anybody can ask for any number. They outlive a reload.
	complaints *loglimit.Limit
}

// served is a module with what is known about its health, which outlives a reload.
type served struct {
	authlib.Module
	*watch
}

// newAsker opens the modules of s, taking those that are open already from old, which may be nil, unless they
// would now be opened with other settings.
func newAsker(s *settings, su setup, old *asker, now func() time.Time) *asker {
	a := &asker{log: su.log, settings: s, setup: su, now: now, complaints: new(loglimit.Limit)}
	if old != nil {
		a.complaints = old.complaints
	}
	if old != nil && !su.same(old.setup) {
		old = nil
	}
	if s.cacheTTL > 0 {
		a.cache = newCache(s.cacheTTL, now)
	}
	for _, name := range s.modules {
		a.modules = append(a.modules, old.module(name))
		if last := len(a.modules) - 1; a.modules[last] == nil {
			a.modules[last] = &served{openModule(name, su), new(watch)}
		}
	}
	return a
}

// module returns an open module that works.
func (a *asker) module(name string) *served {
	if a == nil {
		return nil
	}
	for _, m := range a.modules {
		if _, bad := m.Module.(*broken); m.Name() == name && !bad {
			return m
		}
	}
	return nil
}

// close closes the modules that next, which may be nil, does not go on with.
func (a *asker) close(next *asker) {
	for _, m := range a.modules {
		if next != nil && next.module(m.Name()) == m {
			continue
		}
		if err := m.Close(); err != nil {
			a.log.Warnf("%s: close: %v", m.Name(), err)
		}
	}
}

// errNoModule says that authmodulelist is empty.
var errNoModule = errors.New("authmodulelist names no module: nobody can log in")

// ask has each module in turn try, until one answers something else than "not mine". It returns that module's
// name. If all refuse, it returns the first error that is more specific than authlib.ErrRefused, and that
// module's name; but authlib.ErrNoSecret only if all return that, because another may have found a proof
// wrong. A module without a database is skipped; if there is no other module, that is a temporary failure,
// because the account has not been looked up.
func (a *asker) ask(try func(*served) error) (module string, err error) {
	var refused error
	var absent *served
	missing := errNoModule
	for _, m := range a.modules {
		a.debugf("%s: trying this module", m.Name())
		err := try(m)
		if errors.Is(err, authlib.ErrNoDatabase) {
			a.debugf("%s: %v - try next module", m.Name(), err)
			absent, missing = m, err
			continue
		}
		err = a.recordOutcome(m, err)
		if !errors.Is(err, authlib.ErrRefused) {
			return m.Name(), err
		}
		if errors.Is(err, authlib.ErrNoSecret) && refused != nil {
			continue
		}
		if refused == nil || refused == authlib.ErrRefused && err != refused ||
			errors.Is(refused, authlib.ErrNoSecret) {
			refused, module = err, m.Name()
		}
	}
	switch {
	case refused != nil:
		a.debugf("FAIL, all modules rejected")
		return module, refused
	case absent != nil:
		return absent.Name(), a.recordOutcome(absent, missing)
	case a.complaints.Due(missing.Error(), complaintPause, a.now()):
		a.log.Errf("%v", missing)
	}
	return "", missing
}

// account is ask for an account.
func (a *asker) account(
	try func(authlib.Module) (*authlib.Account, error),
) (account *authlib.Account, module string, err error) {
	module, err = a.ask(func(m *served) (err error) {
		if account, err = a.attempt(m, try); err == nil {
			account, err = a.withOptions(m.Name(), account)
		}
		return err
	})
	if err != nil {
		return nil, module, err
	}
	if a.settings.debug > 0 {
		a.debugAccount(account)
	}
	return account, module, nil
}

// attempt has one module try. One that is known not to answer gets no more than half of the slots: the others
// are for the accounts of other modules.
func (a *asker) attempt(
	m *served, try func(authlib.Module) (*authlib.Account, error),
) (*authlib.Account, error) {
	defer m.asked.Add(-1)
	half := a.settings.daemons * slotsPerDaemon / 2
	if m.asked.Add(1) > int64(half) && len(a.modules) > 1 && m.down.Load() {
		return nil, errOthersWait
	}
	return try(m.Module)
}

// withOptions returns the account with its options as every program understands them, those of DEFAULTOPTIONS
// among them. Words that mean nothing are in the log; the error is an *authlib.AccountError.
func (a *asker) withOptions(module string, account *authlib.Account) (*authlib.Account, error) {
	options, remarks, err := account.Options.Clean()
	if err != nil {
		return nil, authlib.Unusable(account.Address, "%v", err)
	}
	if len(remarks) > 0 && a.due("options of "+account.Address) {
		a.log.Warnf("%s: account %q: %s", module, account.Address, strings.Join(remarks, "; "))
	}
	merged := *account
	merged.Options = options.Merge(a.settings.defaults)
	return &merged, nil
}

// recordOutcome logs what a module's error means, notes a success, and returns the error.
func (a *asker) recordOutcome(m *served, err error) error {
	var unusable *authlib.AccountError
	switch {
	case errors.As(err, &unusable):
		m.success(a.log, m.Name(), a.now)
		a.complain(m.Name(), unusable)
	case err == nil:
		m.success(a.log, m.Name(), a.now)
	case errors.Is(err, authlib.ErrRefused):
		m.success(a.log, m.Name(), a.now)
		a.debugf("%s: REJECT - try next module", m.Name())
		if err != authlib.ErrRefused && a.due(err.Error()) {
			// Refused for a reason that the administrator can do something about, such as a locked account.
			a.log.Infof("%s: %v", m.Name(), err)
		}
	case errors.Is(err, context.Canceled):
		// The daemon stops: not the module's failure.
	case errors.Is(err, errHashesBusy):
		m.success(a.log, m.Name(), a.now)
		if a.due("hashes") {
			a.log.Warnf("%v: some logins are told to come back later; see AUTH_VERIFY_CACHE", errHashesBusy)
		}
	default:
		m.failure(a.log, m.Name(), err, a.now())
		a.debugf("%s: TEMPFAIL - no more modules will be tried: %v", m.Name(), err)
	}
	return err
}

// due tells whether the log is to name an account, or what is wrong with it, now.
func (a *asker) due(account string) bool { return a.complaints.Due(account, complaintPause, a.now()) }

// complain names an account that cannot be used.
func (a *asker) complain(module string, err *authlib.AccountError) {
	if a.due(err.Account) {
		a.log.Warnf("%s: %v", module, err)
	}
	a.debugf("%s: TEMPFAIL - no more modules will be tried: %v", module, err)
}

func (a *asker) debugf(format string, args ...any) {
	if a.settings.debug > 0 {
		a.log.Debugf(format, args...)
	}
}

// debugAccount logs an account; the passwords only with DEBUG_LOGIN=2.
func (a *asker) debugAccount(account *authlib.Account) {
	a.log.Debugf("Authenticated: %s", describe(account))
	if a.settings.debug > 1 {
		a.log.Debugf("Authenticated: clearpasswd=%s, passwd=%s", account.ClearPassword, account.CryptPassword)
	}
}

// authenticate answers AUTH.
func (a *asker) authenticate(
	ctx context.Context,
	req *authlib.AuthRequest,
) (*authlib.Account, string, error) {
	if a.settings.debug > 0 {
		user, _ := req.Login()
		a.log.Debugf("received auth request, service=%s, authtype=%s, user=%s, ip=[%s]",
			text.Field(req.Service), text.Field(string(req.Type)), text.Field(user), text.Field(req.RemoteIP))
		if a.settings.debug > 1 && req.Type == authlib.AuthLogin {
			a.log.Debugf("received auth request, passwd=%s", req.Password)
		}
	}
	if _, ok := req.Login(); !ok {
		a.debugf("FAIL, unknown authtype, or a response without a name")
		return nil, "", authlib.ErrRefused
	}
	if len(req.Password) > password.MaxLength {
		// Without a look at the account: hashes of long passwords would keep a CPU busy, and whether there is such
		// an account is not to show.
		a.debugf("FAIL, %v", password.ErrTooLong)
		return nil, "", password.ErrTooLong
	}
	try := func(m authlib.Module) (*authlib.Account, error) { return m.Authenticate(ctx, req) }
	if a.cache == nil || req.Type != authlib.AuthLogin {
		return a.account(try)
	}
	key, era := a.cache.key("login", req.Service, req.User, req.Password)
	if hit, module, ok := a.cache.get(key, req.Password); ok && !req.Fresh {
		if a.settings.debug > 0 {
			a.debugf("answered from the cache: %s", describe(hit))
		}
		return hit, module, nil
	}
	account, module, err := a.account(try)
	if err == nil {
		a.cache.put(key, era, account, module, req.Password)
	}
	return account, module, err
}

// lookup answers PRE, by one module or by all.
func (a *asker) lookup(ctx context.Context, req *authlib.LookupRequest) (*authlib.Account, string, error) {
	a.debugf("received userid lookup request: %s, service=%s, module=%s",
		text.Field(req.User), text.Field(req.Service), text.Field(req.Module))
	if req.User == "" {
		return nil, "", authlib.ErrRefused
	}
	ask := a
	if req.Module != "" {
		one := *a
		one.modules = nil
		for _, m := range a.modules {
			if m.Name() == req.Module {
				one.modules = append(one.modules, m)
			}
		}
		if one.modules == nil {
			return nil, "", authlib.ErrRefused
		}
		ask = &one
	}
	try := func(m authlib.Module) (*authlib.Account, error) { return m.Lookup(ctx, req) }
	if a.cache == nil {
		return ask.account(try)
	}
	key, era := a.cache.key("lookup", req.Service, req.User, req.Module)
	if hit, module, ok := a.cache.get(key, ""); ok && !req.Fresh {
		if a.settings.debug > 0 {
			a.debugf("answered from the cache: %s", describe(hit))
		}
		return hit, module, nil
	}
	account, module, err := ask.account(try)
	if err == nil {
		a.cache.put(key, era, account, module, "")
	}
	return account, module, err
}

// changePassword answers PASSWD: the first module that knows the account with the old password changes it.
func (a *asker) changePassword(ctx context.Context, req *authlib.PasswordRequest) (string, error) {
	a.debugf("received password change request: %s, service=%s", text.Field(req.User), text.Field(req.Service))
	if len(req.OldPassword) > password.MaxLength || len(req.NewPassword) > password.MaxLength {
		a.log.Infof("password of %q not changed: %v", req.User, password.ErrTooLong)
		return "", password.ErrTooLong
	}
	if a.cache != nil {
		// Afterwards as well: what was asked before the change may be answered after it.
		a.cache.clear()
		defer a.cache.clear()
	}
	module, err := a.ask(func(m *served) error { return m.ChangePassword(ctx, req) })
	if err == nil {
		a.log.Infof("password changed, user=%s, module=%s, ip=[%s]",
			text.Field(req.User), module, text.Field(req.RemoteIP))
	}
	return module, err
}

// enumerate answers ENUMERATE: begin is called for each module, then yield for its accounts. A module without
// a database has none, unless it is the only one.
func (a *asker) enumerate(
	ctx context.Context,
	begin func(module string) error,
	yield func(*authlib.Account) error,
) error {
	for _, m := range a.modules {
		if err := begin(m.Name()); err != nil {
			return err
		}
		var ours error
		err := m.Enumerate(ctx, func(account *authlib.Account) error {
			merged, err := a.withOptions(m.Name(), account)
			if err != nil {
				return nil // nobody can log in there
			}
			ours = yield(merged)
			return ours
		})
		if ours != nil {
			// The client went away: not the module's failure.
			return ours
		}
		if errors.Is(err, authlib.ErrNoDatabase) && len(a.modules) > 1 {
			continue
		}
		if err := a.recordOutcome(m, err); err != nil {
			return err
		}
	}
	return nil
}

// answer returns the bytes that answer a request other than ENUMERATE. An error means that the connection is
// closed without an answer, the protocol's way to say "not now".
func (a *asker) answer(ctx context.Context, req authlib.Request, dst []byte) (out []byte, err error) {
	var account *authlib.Account
	var module string
	switch r := req.(type) {
	case *authlib.AuthRequest:
		account, module, err = a.authenticate(ctx, r)
	case *authlib.LookupRequest:
		account, module, err = a.lookup(ctx, r)
	case *authlib.PasswordRequest:
		if _, err = a.changePassword(ctx, r); err == nil {
			return append(dst, authlib.AnswerOK...), nil
		}
	default:
		return nil, fmt.Errorf("unexpected request %T", req)
	}
	switch {
	case err == nil:
		out, err = authlib.AppendAccount(dst, account)
		var unusable *authlib.AccountError
		if errors.As(err, &unusable) {
			a.complain(module, unusable)
		}
		return out, err
	case errors.Is(err, authlib.ErrRefused):
		if _, isChange := req.(*authlib.PasswordRequest); isChange {
			return append(dst, authlib.AnswerFail...), nil
		}
		return authlib.AppendRefusal(dst, err), nil
	}
	return nil, err
}
