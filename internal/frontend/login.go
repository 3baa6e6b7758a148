package frontend

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/sasl"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/text"
)

// Login takes a client's credentials to the auth module and, when the account lives elsewhere, logs in to its
// mailhost. tag is the IMAP tag, empty for POP3. The error is ErrRefused, ErrTemporary, a *DeniedError or
// ErrEnd, by then logged and, but for ErrEnd, delayed to a multiple of Config.FailDelay after the call. The
// delay does not end when the client hangs up: who guesses passwords would otherwise have his next connection
// at once.
func (s *Conn) Login(ctx context.Context, c *Credentials, tag string) (*Outcome, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	s.tally = tally{began: s.System.Now()}
	o, err := s.login(ctx, c, tag)
	if err != nil || o.Mailhost == nil { // else Relay knows what there is to tell
		s.reportLogin(o, err)
	}
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	if o.Mailhost == nil {
		s.left()
	}
	return o, nil
}

// limited returns ctx with the end of the login time as its deadline.
func (s *Conn) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, s.Started.Add(s.Config.LoginTimeout))
}

// refuse is failed for what goes wrong after the login.
func (s *Conn) refuse(ctx context.Context, err error) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	return s.failed(ctx, err)
}

// failed delays the answer to a failed login, to a multiple of Config.FailDelay after the credentials came.
func (s *Conn) failed(ctx context.Context, err error) error {
	delay := s.failDelay(errors.Is(err, ErrRefused))
	took := time.Duration(0)
	if !s.tally.began.IsZero() {
		took = s.System.Now().Sub(s.tally.began)
	}
	s.System.Sleep(ctx, answerAfter(took, delay, s.Config.FailDelay)-took)
	if ctx.Err() != nil {
		return ErrEnd
	}
	return err
}

func (s *Conn) login(ctx context.Context, c *Credentials, tag string) (*Outcome, error) {
	if c.TooLong || len(c.User) > sasl.MaxUser || len(c.Password) > sasl.MaxPassword {
		s.logTooLong(c)
		return nil, &DeniedError{Code: s.Protocol.Codes.TooLong}
	}
	account, err := s.authenticate(ctx, c)
	switch {
	case errors.Is(err, authlib.ErrExpired):
		s.logStopped(err)
		return nil, &DeniedError{Code: s.Protocol.Codes.Expired}
	case errors.Is(err, authlib.ErrLocked):
		s.logStopped(err)
		return nil, &DeniedError{Code: s.Protocol.Codes.Broken}
	case errors.Is(err, authlib.ErrRefused):
		s.logFailed(c)
		return nil, ErrRefused
	case err != nil:
		s.logAuthError(err)
		return nil, ErrTemporary
	}
	option, err := s.disabled(account)
	if err != nil {
		s.logBadOption(account.Address, err)
		return nil, ErrTemporary
	}
	if option != "" {
		s.logDisabled(account.Address, option)
		s.tally.disabled = true
		return nil, s.denied(option)
	}
	hosts, err := s.mailhosts(account)
	if err != nil {
		return nil, err
	}
	m, err := s.reach(ctx, hosts, c, account, tag)
	if err == nil && m == nil && s.Config.Local.IsValid() && s.Local == nil {
		m, err = s.reachLocal(ctx, c, account, tag)
	}
	if err != nil {
		return nil, err
	}
	return &Outcome{Account: account, Mailhost: m}, nil
}

// authenticate asks the auth module. Names and passwords with control characters, or too long, are refused
// without asking, by whatever command they came: no account has them, and neither the auth module's protocol
// nor the mailhost's could carry them. So are empty ones: some databases take an empty password for an
// anonymous login (RFC 4513 section 5.1.2).
func (s *Conn) authenticate(ctx context.Context, c *Credentials) (*authlib.Account, error) {
	service := s.service()
	user := loginName(s.Config, c.User)
	var account *authlib.Account
	var err error
	switch {
	case c.External:
		if sasl.Check(c.User, "") != nil {
			return nil, authlib.ErrRefused
		}
		s.tally.name = user
		account, err = s.Auth.Lookup(
			ctx,
			&authlib.LookupRequest{Service: service, User: user, RemoteIP: s.Peer.RemoteIP},
		)
	case c.Type == authlib.AuthLogin:
		if sasl.Check(c.User, c.Password) != nil || c.Password == "" {
			return nil, authlib.ErrRefused
		}
		s.tally.name = user
		account, err = s.Auth.Authenticate(ctx, &authlib.AuthRequest{
			Service: service, Type: c.Type, User: user, Password: c.Password, RemoteIP: s.Peer.RemoteIP})
	default:
		name, digest, ok := cutLast(c.Response, ' ')
		if !ok || !text.PlainName(string(c.Response)) || len(name) == 0 {
			return nil, authlib.ErrRefused
		}
		// The digest covers the challenge alone (RFC 2195 section 2), so the name in front of it may be
		// completed.
		user = loginName(s.Config, string(name))
		s.tally.name = user
		account, err = s.Auth.Authenticate(ctx, &authlib.AuthRequest{
			Service: service, Type: c.Type, Challenge: c.Challenge,
			Response: []byte(user + " " + string(digest)), RemoteIP: s.Peer.RemoteIP})
	}
	if err != nil {
		return nil, err
	}
	if account.Address == "" {
		named := *account
		named.Address = user
		account = &named
	}
	return account, nil
}

// service is what the auth module is asked for: AUTHSERVICE<port> by the port that the client connected to.
func (s *Conn) service() string {
	port := s.Peer.LocalPort
	if port == "" {
		port = s.Protocol.Port
	}
	if service := s.Config.AuthServices[port]; service != "" {
		return service
	}
	return s.Protocol.Service
}

// disabled returns the account's option that forbids this session, if any. A connection without TLS from the
// machine itself counts as insecure too, as in Courier. The error is for an option that is neither on nor
// off.
func (s *Conn) disabled(account *authlib.Account) (string, error) {
	options := []string{"disable" + s.Protocol.Service}
	if !s.TLS {
		options = append(options, "disableinsecure"+s.Protocol.Service)
	}
	for _, option := range options {
		if on, err := account.Options.Switch(option); on || err != nil {
			return option, err
		}
	}
	return "", nil
}

// denied is what the client is told of an option that forbids the session.
func (s *Conn) denied(option string) error {
	if strings.HasPrefix(option, "disableinsecure") {
		return &DeniedError{Code: s.Protocol.Codes.Private}
	}
	return &DeniedError{Code: s.Protocol.Codes.Broken}
}

// mailhosts returns the servers of an account; none means that it is here.
func (s *Conn) mailhosts(account *authlib.Account) ([]mailhost.Host, error) {
	if !s.Config.Proxy {
		return nil, nil
	}
	option, _ := account.Options.Get("mailhost")
	hosts, err := mailhost.ParseMailhosts(option)
	if err != nil {
		s.logBadAccount(account.Address, err)
		return nil, ErrTemporary
	}
	if len(hosts) == 0 {
		s.logNoMailhost(account.Address)
	}
	return hosts, nil
}

func cutLast(b []byte, sep byte) (before, after []byte, found bool) {
	i := bytes.LastIndexByte(b, sep)
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+1:], true
}
