package frontend

import (
	"context"
	"errors"

	"mailproxy/internal/launch"
	"mailproxy/internal/local"
	"mailproxy/relay"
)

// relaySession is what a Carrier is given. info holds the account's address and the mailhost, and the
// protocol where there is to be a LOGOUT line.
func (s *Conn) relaySession(mailhost launch.Conn, info relay.Info) *relay.Session {
	info.RemoteIP, info.RemotePort, info.Start = s.Peer.RemoteIP, s.Peer.RemotePort, s.System.Now()
	return &relay.Session{
		Client: s.Client, Mailhost: mailhost, Info: info,
		KeepAlive: s.Config.Keepalive, HalfClose: s.Config.HalfClosed,
	}
}

// Relay has a Carrier tell the client answer, that it is logged in, and join it and the mailhost. It returns
// when the Carrier has the session. Errors: ErrTemporary and ErrEnd as from Login, when the client has been
// told nothing and its connection is as it was; ErrHome when this process must not serve anybody else. The
// mailhost's connection is not the caller's any more in any case.
func (s *Conn) Relay(ctx context.Context, o *Outcome, answer string) error {
	session := s.relaySession(o.Mailhost.Conn, relay.Info{User: o.Account.Address, Mailhost: o.Mailhost.Host})
	session.First = []byte(answer)
	if !o.Mailhost.Local { // there the local server writes its own lines
		session.Info.Protocol = s.Protocol.Name
		session.Accepted = func() { s.logLogin(o.Account.Address) }
	}
	err := s.carry(ctx, session)
	if err == nil {
		return nil
	}
	o.Mailhost.Conn.Close()
	switch {
	case errors.Is(err, relay.ErrLimit):
		s.logRelayLimit(o.Account.Address, err)
	default:
		s.logCarry(err)
	}
	if errors.Is(err, local.ErrChanged) {
		return ErrHome
	}
	return s.refuse(ctx, ErrTemporary)
}

// carry gives a session to relayd or, with root rights given up, to the engine in this process. After an
// error the session is still ours, and the client has been told nothing.
func (s *Conn) carry(ctx context.Context, session *relay.Session) error {
	s.left() // in time: where the session is taken, the client's next connection may come at once
	s.release()
	err := s.carryThere(ctx, session)
	if err != nil && !errors.Is(err, relay.ErrLimit) {
		err = s.carryHere(ctx, session)
	}
	if err != nil {
		s.retain()
		return err
	}
	s.carried = true
	return nil
}

// errNoRelayd says that there is no relayd to ask.
var errNoRelayd = errors.New("no relayd")

// hasRelayd says whether it is worth asking relayd.
func (s *Conn) hasRelayd() bool { return s.Relayd != nil && s.Relayd.Available() }

// carryThere gives the session to relayd, with the rights that the launcher gave, by which relayd knows a
// front end. Where relayd takes it this process only ends: to give up root in every thread would be a
// twentieth of its work.
func (s *Conn) carryThere(ctx context.Context, session *relay.Session) error {
	if !s.hasRelayd() {
		return errNoRelayd
	}
	if session.Info.Protocol != "" {
		session.Info.Login = s.reportSoFar()
	}
	err := s.Relayd.Carry(ctx, session)
	switch {
	case err == nil, errors.Is(err, relay.ErrLimit):
		s.tally.told = true
	default:
		s.logRelayd(err)
	}
	return err
}

// carryHere gives the session to the engine.
func (s *Conn) carryHere(ctx context.Context, session *relay.Session) error {
	if session.Info.Protocol != "" {
		s.report(relay.LoginOK, session.Info.Mailhost)
	}
	if err := s.dropRoot(); err != nil {
		return &dropRootError{err}
	}
	if s.Engine == nil {
		return relay.ErrUnavailable
	}
	carrier, err := s.Engine()
	if err != nil {
		return err
	}
	return carrier.Carry(ctx, session)
}

// dropRootError says that root rights could not be given up.
type dropRootError struct{ error }

// Unwrap returns the cause.
func (e *dropRootError) Unwrap() error { return e.error }
