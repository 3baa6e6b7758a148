package login

import (
	"context"
	"errors"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/sasl"
	"mailproxy/internal/config"
	"mailproxy/internal/mailhost"
)

// Login has the auth module check a client's credentials and, if the account lives elsewhere, logs in to its
// mailhost. The error is ErrRefused, ErrTemporary, a *DeniedError, errGone or ErrEnd, and has been logged.
// The first three are returned Config.FailDelay, or a multiple of it, after the call. The delay does not end
// when the client hangs up: otherwise a password guesser could reconnect immediately.
func (s *Session) Login(ctx context.Context, c *Credentials) (*Outcome, error) {
	s.attempt = attempt{began: s.service.System.Now(), how: c.Mechanism}
	o, err := s.login(ctx, c)
	if err != nil || o.Mailhost == nil { // else the hand-over knows what there is to tell
		s.reportLogin(err)
	}
	switch {
	case errors.Is(err, errGone):
		return nil, err
	case err != nil:
		return nil, s.Refuse(ctx, err)
	case o.Mailhost == nil:
		s.ReleaseUnauth()
	}
	return o, nil
}

// limited returns ctx with the end of the login time as its deadline.
func (s *Session) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, s.Deadline())
}

// Refuse returns err, for a failure after Login, with Login's delay; it returns ErrEnd if the session ends
// meanwhile. The connection counts again among those that have not logged in.
func (s *Session) Refuse(ctx context.Context, err error) error {
	s.countAgain()
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

func (s *Session) login(ctx context.Context, c *Credentials) (*Outcome, error) {
	if c.tooLong() {
		s.logTooLong(c, errTooLong)
		return nil, &DeniedError{Code: s.service.Protocol.Codes.TooLong}
	}
	who, err := s.admit(ctx, c, false)
	if err == nil && who.options.Hold > 0 {
		who, err = s.hold(ctx, c, who)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := s.limited(ctx)
	defer cancel()
	m, err := s.reachMailbox(ctx, c, who)
	switch {
	case errors.Is(err, ErrRefused):
		s.logFailed(c)
		return nil, err
	case err != nil:
		return nil, err
	case m == nil && who.options.Verifier == config.VerifierMailhost:
		return nil, s.notHere(who.account)
	}
	return &Outcome{Account: who.account, Mailhost: m}, nil
}

// admitted is an account whose client may go to it.
type admitted struct {
	account *authlib.Account
	options AccountOptions
}

// admit takes a client's credentials to the auth module, and says whether they let it in: with the proof, or
// to a mailhost that is to verify the password. fresh asks past what the auth module remembers. Why not is
// logged.
func (s *Session) admit(ctx context.Context, c *Credentials, fresh bool) (who admitted, err error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	account, proven, err := s.authenticate(ctx, c, fresh)
	switch {
	case errors.Is(err, authlib.ErrExpired):
		s.logStopped(err)
		return who, &DeniedError{Code: s.service.Protocol.Codes.Expired}
	case errors.Is(err, authlib.ErrLocked):
		s.logStopped(err)
		return who, &DeniedError{Code: s.service.Protocol.Codes.Broken}
	case errors.Is(err, authlib.ErrTooLong):
		s.logTooLong(c, err)
		return who, &DeniedError{Code: s.service.Protocol.Codes.TooLong}
	case errors.Is(err, sasl.ErrNoKeys), errors.Is(err, authlib.ErrNoSecret) && c.offered:
		// It tells that there is such an account, to a stranger too: not where nobody need try the mechanism.
		s.logNoKeys(c, err)
		return who, &DeniedError{Code: s.service.Protocol.Codes.Broken}
	case errors.Is(err, authlib.ErrRefused):
		s.logFailed(c)
		return who, ErrRefused
	case errors.Is(err, sasl.ErrNoName):
		s.logNoName(c)
		return who, &DeniedError{Code: s.service.Protocol.Codes.Broken}
	case errors.Is(err, sasl.ErrBinding):
		s.logBinding(c)
		return who, &DeniedError{Code: s.service.Protocol.Codes.Broken}
	case err != nil && isStopped(ctx):
		return who, ErrEnd
	case err != nil:
		s.logAuthError(err)
		return who, ErrTemporary
	}
	option, err := s.disabled(account)
	if err != nil {
		s.logBadOption(account.Address, err)
		return who, ErrTemporary
	}
	if option != "" {
		s.logDisabled(account.Address, option)
		s.attempt.disabled = true
		return who, s.denied(option)
	}
	o, err := s.service.AccountOptions(account)
	if err != nil {
		s.logNotUnderstood(account.Address, err)
		return who, ErrTemporary
	}
	byMailhost := o.Verifier == config.VerifierMailhost
	switch {
	case byMailhost:
		err = s.maySend(c, account)
	case !proven: // nothing above lets it come so far
		err = ErrTemporary
	}
	return admitted{account, o}, err
}

// reachMailbox logs in where the account is; nil = here. Its errors are those of reach.
func (s *Session) reachMailbox(ctx context.Context, c *Credentials, who admitted) (*mailhost.Conn, error) {
	hosts, err := s.mailhosts(who.account)
	if err != nil {
		return nil, err
	}
	m, err := s.reach(ctx, hosts, c, who)
	if err == nil && m == nil && c.Token != "" {
		return nil, s.tokenHere(c, who.account)
	}
	if err == nil && m == nil && s.service.Local.IsSet() && who.options.Verifier != config.VerifierMailhost {
		m, err = s.reachLocal(ctx, c, who.account)
	}
	return m, err
}
