package login

import (
	"errors"
	"fmt"

	"mailproxy/internal/mailhost"
	"mailproxy/internal/text"
	"mailproxy/relay"
)

// What there is to say of an account's mailhosts.

func (s *Session) logNoMailhost(address string) {
	s.Log.Warnf("proxy enabled, but no proxy host defined for %s", text.Field(address))
}

// logNoPassword: the client has proved who it is without saying its password, as by SCRAM, CRAM or a
// certificate, and the account database does not have it in clear either.
func (s *Session) logNoPassword(m *mailhost.Conn, address string) {
	mend := "PROXY_MASTER_USER logs in without it"
	if m.Local {
		mend = "PROXY_LOCAL needs it in clear"
	}
	s.Log.Warnf("proxy enabled, but no password for %s: %s", text.Field(address), mend)
}

// logBadAccount: the account database holds something that cannot be used.
func (s *Session) logBadAccount(address string, err error) {
	s.Log.Warnf("account %s cannot be proxied: %v", text.Field(address), err)
}

func (s *Session) logBadOption(address string, err error) {
	s.Log.Warnf("account %s cannot be used: %v", text.Field(address), err)
}

// logNotUnderstood: an account has an option whose value is not understood.
func (s *Session) logNotUnderstood(address string, err error) {
	s.Log.Errf("account %s cannot be used: %v", text.Field(address), err)
}

// logBadVerifier: an account whose mailhost verifies its password cannot be logged in there, for a reason
// that only the administrator can do something about.
func (s *Session) logBadVerifier(address, why string) {
	s.Log.Errf("account %s cannot be used: its mailhost is to verify the password (PROXY_VERIFY=MAILHOST or "+
		"the option verify=mailhost), but %s", text.Field(address), why)
}

// logNotAllowed: an account's mailhost is not one of PROXY_MAILHOSTS.
func (s *Session) logNotAllowed(address string, host mailhost.Host) {
	s.Log.Warnf("account %s is not sent to mailhost %s: %v",
		text.Field(address), text.Field(host.String()), mailhost.ErrNotAllowed)
}

func (s *Session) logHostname(err error) { s.Log.Errf("gethostname failed: %v", err) }

func (s *Session) logMaster(err error) { s.Log.Errf("%v", err) }

// logLoop: a mailhost leads back to where this connection has been.
func (s *Session) logLoop(m *mailhost.Conn, why string) {
	s.attempt.failed(m, mailhost.StepConnect)
	s.Log.Warnf("Login to %s failed, address=%s, step=%s, user=%s: %s: proxying loop refused",
		m.Host, m.Addr, mailhost.StepConnect, text.Field(m.Account()), why)
}

// logUnusable: a mailhost could not be used now. What is known of it without this login, that it is down or
// has too much to do, is said once for all by the program that found it out.
func (s *Session) logUnusable(m *mailhost.Conn, step mailhost.Step, err error) {
	s.attempt.failed(m, step)
	if errors.Is(err, mailhost.ErrDown) || errors.Is(err, mailhost.ErrBusy) {
		if s.Config.Debug > 0 {
			s.Log.Debugf("%s is not tried, address=%s, user=%s: %v",
				m.Host, m.Addr, text.Field(m.Account()), err)
		}
		return
	}
	s.Log.Warnf("%s, address=%s, step=%s, user=%s: %s",
		words(m.Host, step), orNone(m.Addr), step, text.Field(m.Account()), text.Field(m.Redact(Cause(err))))
}

// logRejected: a mailhost answered a login with something else than yes.
func (s *Session) logRejected(m *mailhost.Conn, r *RejectedError, v verdict) {
	switch {
	case v.failed: // the client's failure, not the mailhost's
	case v.next:
		s.attempt.failed(m, r.Step)
	default:
		s.attempt.failed(m, relay.StepRejected)
	}
	what := fmt.Sprintf("Login to %s failed", m.Host)
	switch r.Step {
	case mailhost.StepUser:
		what = "Login userid rejected by " + m.Host
	case mailhost.StepPassword:
		what = "Login password rejected by " + m.Host
	}
	why := v.why
	if why != "" {
		why += ": "
	}
	say := s.Log.Warnf
	switch v.level {
	case levelErr:
		say = s.Log.Errf
	case levelInfo:
		say = s.Log.Infof
	}
	say("%s, address=%s, step=%s, user=%s: %s%s",
		what, m.Addr, r.Step, text.Field(m.Account()), why, text.Field(m.Redact(r.Answer.Text)))
}

// logHungUp: a mailhost does not like something that it can be spared.
func (s *Session) logHungUp(m *mailhost.Conn, err *mailhost.HungUpError) {
	s.Log.Warnf("%s %s, address=%s, user=%s: trying without",
		m.Host, m.Redact(err.Error()), m.Addr, text.Field(m.Account()))
}

func (s *Session) logConnected(m *mailhost.Conn) {
	if s.Config.Debug > 0 {
		s.Log.Debugf("Proxy connected to %s, address=%s", m.Host, m.Addr)
	}
}

// words are Courier's for the step that failed.
func words(host string, step mailhost.Step) string {
	switch step {
	case mailhost.StepResolve:
		return "getaddrinfo on proxyhost " + host + " failed"
	case mailhost.StepConnect:
		return "Connection to proxyhost " + host + " failed"
	case mailhost.StepGreeting:
		return "Did not receive greeting from " + host
	}
	return "Login to " + host + " failed"
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
