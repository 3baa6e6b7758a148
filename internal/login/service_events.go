package login

import (
	"errors"

	"mailproxy/internal/peercred"
	"mailproxy/internal/text"
)

// What there is to say of the services that a session needs: the auth module, the memory of failed logins,
// relayd, the local server.

func (s *Session) logAuthError(err error) {
	if isStranger(err) {
		s.Log.Errf("authentication error, %s: %v", s.Where(), err)
		return
	}
	s.Log.Warnf("authentication error, %s: %v", s.Where(), err)
}

func (s *Session) logThrottle(err error) {
	s.Log.Warnf("THROTTLE_FILE: %v; logins are not slowed down", err)
}

// LogRelayd: relayd has not taken a session, which goes on in this process.
func (s *Session) LogRelayd(err error) {
	if isStranger(err) {
		s.Log.Errf("relayd is given no session, see RELAY_USER: %v", err)
		return
	}
	s.Log.Warnf("relayd does not take the session: %v", err)
}

// LogRelayLimit: the client is refused as for a temporary problem; it is not treated as a password guesser.
func (s *Session) LogRelayLimit(address string, err error) {
	s.Log.Warnf("%s, user=%s, %s", err, text.Field(address), s.Where())
}

// LogDropRoot: root rights could not be given up, with which no session must go on.
func (s *Session) LogDropRoot(err error) { s.Log.Errf("giving up root rights: %v", err) }

// LogCarry: nobody carries a session.
func (s *Session) LogCarry(err error) {
	s.Log.Errf("the session cannot be relayed: %v", err)
}

// LogHome: the local account's home cannot be entered.
func (s *Session) LogHome(address, home string, err error) {
	s.Log.Warnf("%s: chdir(%s) failed!!: %v", text.Field(address), home, err)
}

// LogExec: the local server cannot be run.
func (s *Session) LogExec(program string, err error) {
	s.Log.Errf("exec(%s) failed!!: %v", program, err)
}

// LogLocal: the local account cannot be served.
func (s *Session) LogLocal(address string, err error) {
	s.Log.Errf("local account %s: %v", text.Field(address), err)
}

// isStranger tells that somebody listens on a service's socket who may not. Nothing else does that by itself:
// an attack, or a setting.
func isStranger(err error) bool {
	var refused *peercred.Refused
	return errors.As(err, &refused)
}
