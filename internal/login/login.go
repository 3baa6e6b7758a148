package login

import (
	"context"
	"errors"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/sasl"
)

// Login takes a client's credentials to the auth module and, when the account lives elsewhere, logs in to its
// mailhost. tag is the IMAP tag, empty for POP3. The error is ErrRefused, ErrTemporary, a *DeniedError or
// ErrEnd, by then logged and, but for ErrEnd, delayed to a multiple of Config.FailDelay after the call. The
// delay does not end when the client hangs up: who guesses passwords would otherwise have the next connection
// at once.
func (s *Session) Login(ctx context.Context, c *Credentials, tag string) (*Outcome, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	s.attempt = attempt{began: s.service.System.Now()}
	o, err := s.login(ctx, c, tag)
	if err != nil || o.Mailhost == nil { // else the hand-over knows what there is to tell
		s.reportLogin(err)
	}
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	if o.Mailhost == nil {
		s.Leave()
	}
	return o, nil
}

// limited returns ctx with the end of the login time as its deadline.
func (s *Session) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, s.Deadline())
}

// Refuse returns err, for what goes wrong after Login, as late as Login would have; ErrEnd when the session
// ends by then.
func (s *Session) Refuse(ctx context.Context, err error) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	return s.failed(ctx, err)
}

// failed delays the answer to a failed login, to a multiple of Config.FailDelay after the credentials came.
func (s *Session) failed(ctx context.Context, err error) error {
	delay := s.failDelay(errors.Is(err, ErrRefused))
	took := time.Duration(0)
	if !s.attempt.began.IsZero() {
		took = s.service.System.Now().Sub(s.attempt.began)
	}
	s.service.System.Sleep(ctx, answerAfter(took, delay, s.Config.FailDelay)-took)
	if ctx.Err() != nil {
		return ErrEnd
	}
	return err
}

func (s *Session) login(ctx context.Context, c *Credentials, tag string) (*Outcome, error) {
	if c.TooLong || len(c.User) > sasl.MaxUser || len(c.Password) > sasl.MaxPassword {
		s.logTooLong(c)
		return nil, &DeniedError{Code: s.service.Protocol.Codes.TooLong}
	}
	account, err := s.authenticate(ctx, c)
	switch {
	case errors.Is(err, authlib.ErrExpired):
		s.logStopped(err)
		return nil, &DeniedError{Code: s.service.Protocol.Codes.Expired}
	case errors.Is(err, authlib.ErrLocked):
		s.logStopped(err)
		return nil, &DeniedError{Code: s.service.Protocol.Codes.Broken}
	case errors.Is(err, authlib.ErrRefused):
		s.logFailed(c)
		return nil, ErrRefused
	case errors.Is(err, sasl.ErrNoName):
		s.logNoName(c)
		return nil, &DeniedError{Code: s.service.Protocol.Codes.Broken}
	case errors.Is(err, sasl.ErrNoKeys):
		s.logNoKeys(c)
		return nil, &DeniedError{Code: s.service.Protocol.Codes.Broken}
	case errors.Is(err, sasl.ErrBinding):
		s.logBinding(c)
		return nil, &DeniedError{Code: s.service.Protocol.Codes.Broken}
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
		s.attempt.disabled = true
		return nil, s.denied(option)
	}
	hosts, err := s.mailhosts(account)
	if err != nil {
		return nil, err
	}
	m, err := s.reach(ctx, hosts, c, account, tag)
	if err == nil && m == nil && c.Token != "" {
		return nil, s.tokenHere(c, account)
	}
	if err == nil && m == nil && s.service.Local.IsValid() {
		m, err = s.reachLocal(ctx, c, account, tag)
	}
	if err != nil {
		return nil, err
	}
	return &Outcome{Account: account, Mailhost: m}, nil
}
