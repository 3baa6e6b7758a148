package login

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/config"
)

const (
	// maxHold is the longest that a login may be held. Clients wait for an answer for about a minute.
	maxHold = 50 * time.Second
	// holdStep is how often the account is asked about meanwhile.
	holdStep = time.Second
)

// hold has a login wait while its account is held (option hold=SECONDS), as when its mailbox is moved to
// another mailhost, and then admits it anew: account and password may have changed. Only a login whose
// password has been verified waits: anybody who knows a name could otherwise use up the slots. The wait ends
// with the option, with its time, with the client's connection, and with the program; it is not counted in
// LOGIN_TIMEOUT.
func (s *Session) hold(ctx context.Context, c *Credentials, who admitted) (admitted, error) {
	address := who.account.Address
	stillHeld := &DeniedError{Code: s.service.Protocol.Codes.InUse}
	if who.options.Verifier == config.VerifierMailhost || c.Token != "" {
		// It does not wait for what the auth module remembers from before the release either.
		if held, err := s.isHeld(ctx); err == nil && !held {
			return s.readmit(ctx, c, address)
		}
		s.logStillHeld(address, "the login is not verified here, so it does not wait")
		return admitted{}, stillHeld
	}
	defer s.service.holding.Add(-1)
	if s.service.holding.Add(1) > int64(s.Config.MaxHeld) {
		s.logStillHeld(address, fmt.Sprintf("HOLD_MAX=%d logins wait already", s.Config.MaxHeld))
		return admitted{}, stillHeld
	}
	s.logHeld(address, who.options)
	began := s.service.System.Now()
	released, err := s.wait(ctx, began.Add(who.options.Hold))
	waited := s.service.System.Now().Sub(began)
	s.held += waited
	s.attempt.held += waited
	switch {
	case err != nil:
		return admitted{}, err
	case !released:
		s.logStillHeld(address, fmt.Sprintf("for longer than hold=%d", who.options.Hold/time.Second))
		return admitted{}, stillHeld
	}
	who, err = s.readmit(ctx, c, address)
	if err == nil {
		s.logReleased(address, waited)
	}
	return who, err
}

// readmit admits a login whose account has been released, unless it is held again.
func (s *Session) readmit(ctx context.Context, c *Credentials, address string) (admitted, error) {
	who, err := s.admit(ctx, c, true)
	switch {
	case err != nil:
		return admitted{}, err
	case who.options.Hold > 0:
		s.logStillHeld(address, "again")
		return admitted{}, &DeniedError{Code: s.service.Protocol.Codes.InUse}
	}
	return who, nil
}

// wait waits until the account under way is no longer held, and says whether that was before end. The error
// is errGone or ErrEnd.
func (s *Session) wait(ctx context.Context, end time.Time) (released bool, err error) {
	logged := false
	for {
		left := end.Sub(s.service.System.Now())
		if left <= 0 {
			return false, nil
		}
		s.service.System.Sleep(ctx, min(left, holdStep))
		switch {
		case ctx.Err() != nil:
			return false, ErrEnd
		case s.Gone != nil && s.Gone():
			return false, errGone
		}
		held, err := s.isHeld(ctx)
		switch {
		case err == nil && !held:
			return true, nil
		case err != nil && !logged && !isStopped(ctx): // it may answer again in time
			s.logAuthError(err)
			logged = true
		}
	}
}

// isHeld asks whether an account is held. An account that no longer exists or whose options are not
// understood is not held: the login is admitted anew, which finds and logs the error.
func (s *Session) isHeld(ctx context.Context) (bool, error) {
	account, err := s.lookUp(ctx, s.attempt.name, true)
	switch {
	case errors.Is(err, authlib.ErrRefused):
		return false, nil
	case err != nil:
		return true, err
	}
	o, err := s.service.AccountOptions(account)
	return err == nil && o.Hold > 0, nil
}
