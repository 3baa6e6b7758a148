package frontend

import (
	"errors"
	"fmt"
	"time"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/peercred"
	"mailproxy/internal/text"
)

// Every log line of a session, in Courier's words where it has any: log parsers and fail2ban read them. Those
// that are written in any case, whatever the client has done to use the log's limit up, say so by Always.

// LogConnection writes the line that begins a session.
func (s *Conn) LogConnection() { s.Log.Always().Debugf("Connection, %s", s.where()) }

// LogLogout writes the line of a client that said LOGOUT or QUIT before logging in. rcvd and sent are bytes;
// Courier counts them for IMAP only.
func (s *Conn) LogLogout(rcvd, sent int64) {
	if s.Protocol.Name == "IMAP" {
		s.Log.Always().Infof("LOGOUT, %s, rcvd=%d, sent=%d", s.where(), rcvd, sent)
		return
	}
	s.Log.Always().Infof("LOGOUT, %s", s.where())
}

// LogDisconnected writes the line of a session that ended before a login.
func (s *Conn) LogDisconnected(end End) {
	switch {
	case end == EndShutdown:
		s.Log.Always().
			Noticef("Disconnected during shutdown by signal, %s, time=%d%s", s.where(), s.age(), s.overTLS())
	case end == EndTimeout:
		s.Log.Always().Infof("TIMEOUT, %s, time=%d%s", s.where(), s.age(), s.overTLS())
	case s.Protocol.Name == "IMAP":
		s.Log.Always().Debugf("Disconnected, %s, time=%d%s", s.where(), s.age(), s.overTLS())
	default:
		s.Log.Always().Debugf("Disconnected, %s", s.where())
	}
}

// logLogin: a proxied login succeeded. For local ones the local server writes it.
func (s *Conn) logLogin(address string) {
	s.Log.Always().
		Infof("LOGIN, user=%s, %s, protocol=%s%s", text.Field(address), s.where(), s.Protocol.Name, s.overTLS())
}

// logFailed: the one line that fail2ban counts. Never for a failure that is not the client's.
func (s *Conn) logFailed(c *Credentials) {
	if c.SASL {
		s.Log.Always().Infof("LOGIN FAILED, method=%s, %s", text.Field(c.Mechanism), s.where())
		return
	}
	s.Log.Always().Infof("LOGIN FAILED, user=%s, %s", text.Field(c.User), s.where())
}

// logTooLong: a name or password that is longer than any account's. Not a LOGIN FAILED: nobody was asked.
func (s *Conn) logTooLong(c *Credentials) {
	s.Log.Always().
		Infof("LOGIN REFUSED, method=%s, %s: name or password too long, at most %d and %d bytes are taken",
			text.Field(c.Mechanism), s.where(), sasl.MaxUser, sasl.MaxPassword)
}

// logDisabled: the account may not use this service. Not a LOGIN FAILED: the password was right.
func (s *Conn) logDisabled(address, option string) {
	s.Log.Always().
		Infof("LOGIN DISABLED, user=%s, %s, protocol=%s, option=%s",
			text.Field(address), s.where(), s.Protocol.Name, option)
}

// logStopped: the account database lets nobody in, whatever the password. Not a LOGIN FAILED: none was found
// wrong.
func (s *Conn) logStopped(err error) {
	s.tally.disabled = true
	s.Log.Always().Infof("LOGIN DISABLED, user=%s, %s, protocol=%s, reason=%v",
		text.Field(s.tally.name), s.where(), s.Protocol.Name, err)
}

func (s *Conn) logAuthError(err error) {
	if isStranger(err) {
		s.Log.Errf("authentication error, %s: %v", s.where(), err)
		return
	}
	s.Log.Warnf("authentication error, %s: %v", s.where(), err)
}

func (s *Conn) logNoMailhost(address string) {
	s.Log.Warnf("proxy enabled, but no proxy host defined for %s", text.Field(address))
}

func (s *Conn) logNoPassword(address string) {
	s.Log.Warnf("proxy enabled, but no password for %s", text.Field(address))
}

// logBadAccount: the account database holds something that cannot be used.
func (s *Conn) logBadAccount(address string, err error) {
	s.Log.Warnf("account %s cannot be proxied: %v", text.Field(address), err)
}

func (s *Conn) logBadOption(address string, err error) {
	s.Log.Warnf("account %s cannot be used: %v", text.Field(address), err)
}

func (s *Conn) logHostname(err error) { s.Log.Errf("gethostname failed: %v", err) }

func (s *Conn) logMaster(err error) { s.Log.Errf("PROXY_MASTER_PASSWORD_FILE: %v", err) }

// logLoop: a mailhost leads back to where this connection has been.
func (s *Conn) logLoop(m *mailhost.Conn, why string) {
	s.tally.failed(m, mailhost.StepConnect)
	s.Log.Warnf("Login to %s failed, address=%s, step=%s, user=%s: %s: proxying loop refused",
		m.Host, m.Addr, mailhost.StepConnect, text.Field(m.Account()), why)
}

// logUnusable: a mailhost could not be used now.
func (s *Conn) logUnusable(m *mailhost.Conn, step mailhost.Step, err error) {
	s.tally.failed(m, step)
	s.Log.Warnf("%s, address=%s, step=%s, user=%s: %s",
		words(m.Host, step), orNone(m.Addr), step, text.Field(m.Account()), text.Field(m.Redact(cause(err))))
}

// logRejected: a mailhost answered a login with something else than yes.
func (s *Conn) logRejected(m *mailhost.Conn, r *login.RejectedError, v login.Verdict) {
	if v.Next {
		s.tally.failed(m, r.Step)
	} else {
		s.tally.failed(m, stepRejected)
	}
	what := fmt.Sprintf("Login to %s failed", m.Host)
	switch r.Step {
	case mailhost.StepUser:
		what = "Login userid rejected by " + m.Host
	case mailhost.StepPassword:
		what = "Login password rejected by " + m.Host
	}
	why := v.Why
	if why != "" {
		why += ": "
	}
	say := s.Log.Warnf
	if v.Level == login.Err {
		say = s.Log.Errf
	}
	say("%s, address=%s, step=%s, user=%s: %s%s",
		what, m.Addr, r.Step, text.Field(m.Account()), why, text.Field(m.Redact(r.Answer.Text)))
}

// logHungUp: a mailhost does not like something that it can be spared.
func (s *Conn) logHungUp(m *mailhost.Conn, err *mailhost.HungUpError) {
	s.Log.Warnf(
		"%s %s, address=%s, user=%s: trying without",
		m.Host,
		m.Redact(err.Error()),
		m.Addr,
		text.Field(m.Account()),
	)
}

func (s *Conn) logConnected(m *mailhost.Conn) {
	if s.Config.Debug {
		s.Log.Debugf("Proxy connected to %s, address=%s", m.Host, m.Addr)
	}
}

// logHome: the local account's home cannot be entered.
func (s *Conn) logHome(address, home string, err error) {
	s.Log.Warnf("%s: chdir(%s) failed!!: %v", text.Field(address), home, err)
}

// logExec: the local server cannot be run.
func (s *Conn) logExec(program string, err error) {
	s.Log.Errf("exec(%s) failed!!: %v", program, err)
}

// logLocal: the local account cannot be served.
func (s *Conn) logLocal(address string, err error) {
	s.Log.Errf("local account %s: %v", text.Field(address), err)
}

// logCarry: nobody carries a session, which must not go on with root rights.
func (s *Conn) logCarry(err error) {
	if _, ok := errors.AsType[*dropRootError](err); ok {
		s.Log.Errf("giving up root rights: %v", err)
		return
	}
	s.Log.Errf("the session cannot be relayed: %v", err)
}

// logRelayLimit: the client is refused as by a temporary problem, and is not taken for somebody who guesses
// passwords.
func (s *Conn) logRelayLimit(address string, err error) {
	s.Log.Warnf("%s, user=%s, %s", err, text.Field(address), s.where())
}

func (s *Conn) logRelayd(err error) {
	if isStranger(err) {
		s.Log.Errf("relayd is given no session, see RELAY_USER: %v", err)
		return
	}
	s.Log.Warnf("relayd does not take the session: %v", err)
}

// isStranger tells that somebody listens on a service's socket who may not. Nothing else does that by itself:
// an attack, or a setting.
func isStranger(err error) bool {
	var refused *peercred.Refused
	return errors.As(err, &refused)
}

// where names the client in every line.
func (s *Conn) where() string {
	return fmt.Sprintf("ip=[%s], port=[%s]", text.Field(s.Peer.RemoteIP), text.Field(s.Peer.RemotePort))
}

func (s *Conn) overTLS() string {
	if s.TLS {
		return ", " + s.Protocol.TLSWord + "=1"
	}
	return ""
}

// age is the session's time so far, in whole seconds.
func (s *Conn) age() int64 { return int64(s.System.Now().Sub(s.Started) / time.Second) }

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

// logNotAllowed: an account's mailhost is not one of PROXY_MAILHOSTS.
func (s *Conn) logNotAllowed(address string, host mailhost.Host) {
	s.Log.Warnf(
		"account %s is not sent to mailhost %s: %v",
		text.Field(address),
		text.Field(host.String()),
		mailhost.ErrNotAllowed,
	)
}
