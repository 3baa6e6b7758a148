package login

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/haproxy"
	"mailproxy/internal/text"
)

// Every log line of a session, here and in the other files whose names end in events.go, in Courier's words
// where it has any: log parsers and fail2ban read them. Those that are written in any case, whatever the
// client has done to use the log's limit up, say so by Always.

// LogConnection writes the line that begins a session.
func (s *Session) LogConnection() { s.Log.Always().Debugf("Connection, %s", s.Where()) }

// LogLogout writes the line of a client that said LOGOUT or QUIT before logging in; a health check does so
// every other second. rcvd and sent are bytes; Courier counts them for IMAP only.
func (s *Session) LogLogout(rcvd, sent int64) {
	line := "LOGOUT, " + s.Where()
	if s.service.Protocol.Name == "IMAP" {
		line += fmt.Sprintf(", rcvd=%d, sent=%d", rcvd, sent)
	}
	if s.HealthCheck {
		s.Log.Always().Debugf("%s", line)
		return
	}
	s.Log.Always().Infof("%s", line)
}

// LogDisconnected writes the line of a session that ended before a login.
func (s *Session) LogDisconnected(end End) {
	switch {
	case end == EndShutdown:
		s.Log.Always().
			Noticef("Disconnected during shutdown by signal, %s, time=%d%s", s.Where(), s.age(), s.overTLS())
	case end == EndTimeout:
		s.Log.Always().Infof("TIMEOUT, %s, time=%d%s", s.Where(), s.age(), s.overTLS())
	case s.service.Protocol.Name == "IMAP":
		s.Log.Always().Debugf("Disconnected, %s, time=%d%s", s.Where(), s.age(), s.overTLS())
	default:
		s.Log.Always().Debugf("Disconnected, %s", s.Where())
	}
}

// LogLogin: a proxied login succeeded. For local ones the local server writes it.
func (s *Session) LogLogin(address string) {
	s.Log.Always().
		Infof("LOGIN, user=%s, %s, protocol=%s%s",
			text.Field(address), s.Where(), s.service.Protocol.Name, s.overTLS())
}

// logFailed: the one line that fail2ban counts. Never for a failure that is not the client's.
func (s *Session) logFailed(c *Credentials) {
	if c.bySASL {
		s.Log.Always().Infof("LOGIN FAILED, method=%s, %s", text.Field(c.Mechanism), s.Where())
		return
	}
	s.Log.Always().Infof("LOGIN FAILED, user=%s, %s", text.Field(c.User), s.Where())
}

// errTooLong is a name or password that the auth module is not asked for.
var errTooLong = fmt.Errorf("name or password too long, at most %d and %d bytes are taken",
	sasl.MaxUser, sasl.MaxPassword)

// logTooLong: a name or password that is longer than this program or the auth module takes, which err says.
// Not a LOGIN FAILED: no password was looked at.
func (s *Session) logTooLong(c *Credentials, err error) {
	s.Log.Always().
		Infof("LOGIN REFUSED, method=%s, %s: %v", text.Field(c.Mechanism), s.Where(), err)
}

// logNoKeys: the account cannot log in by this mechanism, whatever its password. Not a LOGIN FAILED: no
// password was looked at.
func (s *Session) logNoKeys(c *Credentials, err error) {
	s.Log.Always().
		Warnf("LOGIN REFUSED, user=%s, method=%s, %s: %v: give it one of them, or do not offer the mechanism",
			text.Field(c.User), text.Field(c.Mechanism), s.Where(), err)
}

// logBinding: the client proves itself over a TLS connection that is not this one, or was not shown what is
// offered. Not a LOGIN FAILED: no password was looked at.
func (s *Session) logBinding(c *Credentials) {
	s.Log.Always().
		Warnf("LOGIN REFUSED, method=%s, %s: %v", text.Field(c.Mechanism), s.Where(), sasl.ErrBinding)
}

// logNoSecret: the client's mechanism shows no password, which the account's mailhost is to verify. Not a
// LOGIN FAILED: nothing was found wrong.
func (s *Session) logNoSecret(c *Credentials, address string) {
	s.Log.Always().
		Infof("LOGIN REFUSED, method=%s, user=%s, %s: its mailhost verifies the password, which this method "+
			"does not show", text.Field(c.Mechanism), text.Field(address), s.Where())
}

// logHeld: the login waits, since its account is held.
func (s *Session) logHeld(address string, o AccountOptions) {
	s.Log.Infof("LOGIN HELD, user=%s, %s, protocol=%s, hold=%d",
		text.Field(address), s.Where(), s.service.Protocol.Name, o.Hold/time.Second)
}

// logReleased: it goes on.
func (s *Session) logReleased(address string, held time.Duration) {
	s.Log.Infof("LOGIN RELEASED, user=%s, %s, protocol=%s, held=%d",
		text.Field(address), s.Where(), s.service.Protocol.Name, held/time.Second)
}

// logStillHeld: the client is told to come back, since the account is held.
func (s *Session) logStillHeld(address, why string) {
	s.Log.Always().Infof("LOGIN REFUSED, user=%s, %s, protocol=%s: the account is held: %s",
		text.Field(address), s.Where(), s.service.Protocol.Name, why)
}

// logDisabled: the account may not use this service. Not a LOGIN FAILED: the password was right.
func (s *Session) logDisabled(address, option string) {
	s.Log.Always().
		Infof("LOGIN DISABLED, user=%s, %s, protocol=%s, option=%s",
			text.Field(address), s.Where(), s.service.Protocol.Name, option)
}

// logStopped: the account database lets nobody in, whatever the password. Not a LOGIN FAILED: none was found
// wrong.
func (s *Session) logStopped(err error) {
	s.attempt.disabled = true
	s.Log.Always().Infof("LOGIN DISABLED, user=%s, %s, protocol=%s, reason=%v",
		text.Field(s.attempt.name), s.Where(), s.service.Protocol.Name, err)
}

// logTooMany: the client's address has too many connections that have not logged in.
func (s *Session) logTooMany() {
	if s.service.TooMany != nil {
		s.service.TooMany(s.Peer.RemoteIP)
		return
	}
	s.Log.Always().
		Noticef("Maximum of %d connections without a login reached, %s", s.Config.MaxUnauthPerIP, s.Where())
}

// LogID: an IMAP client has said what it is. fields is safe for the log.
func (s *Session) LogID(fields string) { s.Log.Infof("ID, %s, %s", s.Where(), fields) }

// LogViolations: the client has sent too many invalid commands in a row.
func (s *Session) LogViolations() {
	s.Log.Always().Errf("TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS, %s", s.Where())
}

// logTooManyCommands: the client has said more than it may before it logs in.
func (s *Session) logTooManyCommands() {
	s.Log.Always().
		Noticef("TOO MANY COMMANDS WITHOUT A LOGIN (LOGIN_MAX_COMMANDS=%d), %s", s.Config.MaxCommands, s.Where())
}

// leftOut is the line in the place of those that a log's limit leaves out.
func (s *Session) leftOut() string {
	return "further log lines before the login are left out, " + s.Where()
}

// LogNotOffered says why STARTTLS is not offered although it is switched on.
func (s *Session) LogNotOffered(err error) {
	s.Log.Errf("%s is not offered: %v", s.startTLSName(), err)
}

func (s *Session) startTLSName() string {
	if s.service.Protocol.Name == "POP3" {
		return "STLS"
	}
	return "STARTTLS"
}

// LogTLSFailed writes the one line about a handshake with the client that failed; the session ends with it.
// ours says that the installation is at fault. Faults of clients are only INFO: scanners cause them all the
// time.
func (s *Session) LogTLSFailed(ours bool, err error) {
	say := s.Log.Infof
	if ours {
		say = s.Log.Errf
	}
	say("TLS FAILED, %s: %s", s.Where(), tlsCause(err))
}

// tlsCause is Cause, but says who raised an alert.
func tlsCause(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return "alert from the peer: " + op.Err.Error()
	}
	return Cause(err)
}

// bareCheck is the time within which a health check that only connects has closed its connection again.
// Clients behind a balancer that forgets its header wait longer for a greeting.
const bareCheck = 5 * time.Second

// LogNoHeader says why a balancer's connection is closed.
func (s *Session) LogNoHeader(balancer net.Addr, err error) {
	if errors.Is(err, haproxy.ErrNothing) && s.service.System.Now().Sub(s.Started) < bareCheck {
		s.Log.Debugf("Disconnected, %s: health check without a PROXY header", s.Where())
		return
	}
	s.Log.Warnf("HAPROXY=1, but no PROXY header from %s: %s (send-proxy or send-proxy-v2 must be set there)",
		balancer, Cause(err))
}

// LogStranger says that a process may not connect to a unix socket that is for balancers.
func (s *Session) LogStranger(err error) { s.Log.Warnf("HAPROXY_ALLOW: %v", err) }

// LogNotProven says that the name of a client's certificate in a PROXY header proves nothing.
func (s *Session) LogNotProven(balancer netip.Addr) {
	s.Log.Warnf("TLS_EXTERNAL: the certificate's name in a PROXY header from %s is not believed: every user of "+
		"this machine can send from there; a balancer here connects by a unix socket", balancer.Unmap())
}

// LogPanic writes what guard.Recover has to say, line by line.
func (s *Session) LogPanic(lines string) {
	first, stack, _ := strings.Cut(strings.TrimSuffix(lines, "\n"), "\n")
	s.Log.Always().Line(first)
	for line := range strings.SplitSeq(stack, "\n") {
		s.Log.Always().Errf("%s", line)
	}
}

// Where names the client in every line.
func (s *Session) Where() string {
	return fmt.Sprintf("ip=[%s], port=[%s]", text.Field(s.Peer.RemoteIP), text.Field(s.Peer.RemotePort))
}

func (s *Session) overTLS() string {
	if s.TLS {
		return ", " + s.service.Protocol.TLSWord + "=1"
	}
	return ""
}

// age is the session's time so far, in whole seconds.
func (s *Session) age() int64 { return int64(s.service.System.Now().Sub(s.Started) / time.Second) }
