package frontend

import (
	"context"
	"errors"
	"net"

	"mailproxy/internal/launch"
	"mailproxy/internal/local"
	"mailproxy/internal/peercred"
	"mailproxy/relay"
	"mailproxy/relay/engine"
	"mailproxy/relay/handoff"
)

// relayd is the client of the relayd to ask, if there is one.
func (s *Session) relayd() *handoff.Client {
	return &handoff.Client{Socket: s.Config.RelaySocket,
		Trusted: func(c *net.UnixConn) error { return peercred.Listener(c, s.Config.RelaydUsers...) }}
}

func (s *Session) relayInfo(o *Outcome) relay.Info {
	return relay.Info{
		User: o.Account.Address, Protocol: s.Protocol.Name,
		RemoteIP: s.Peer.RemoteIP, RemotePort: s.Peer.RemotePort,
		Mailhost: o.Mailhost.Host, Start: s.System.Now(),
	}
}

// relaySession is what a carrier is given.
func (s *Session) relaySession(mailhost launch.Conn, info relay.Info) *relay.Session {
	return &relay.Session{Client: s.Conn, Mailhost: mailhost, Info: info,
		KeepAlive: s.Config.Keepalive, HalfClose: s.Config.HalfClosed}
}

// Relay tells the client answer, that it is logged in, and joins it and the mailhost until the session is
// over; when relayd takes the session, it returns at once. Nothing is relayed with root rights. Errors:
// ErrTemporary and ErrEnd as from Login, when the client has been told nothing and its connection is as it
// was; ErrHome when this process must not serve anybody else; ErrBroken when the session was cut off, by
// then logged. The mailhost's connection is closed in any case, after nil and ErrBroken the client's as
// well.
func (s *Session) Relay(ctx context.Context, o *Outcome, answer string) error {
	defer o.Mailhost.Conn.Close()
	session := s.relaySession(o.Mailhost.Conn, s.relayInfo(o))
	session.First = []byte(answer)
	err := s.handOver(ctx, session)
	switch {
	case err == nil:
		s.logLogin(o.Account.Address)
		s.Conn.Close()
		return nil
	case errors.Is(err, relay.ErrLimit):
		s.logRelayLimit(o.Account.Address, err)
		return s.refuse(ctx, ErrTemporary)
	case err != errNoRelayd: // the session goes on here
		s.logRelayd(err)
	}
	s.reportLogin(o, nil)
	if err := s.dropRoot(); err != nil {
		s.logDropRoot(err)
		if errors.Is(err, local.ErrChanged) {
			return ErrHome
		}
		return s.refuse(ctx, ErrTemporary)
	}
	s.logLogin(o.Account.Address)
	defer s.Conn.Close()
	return s.carryHere(ctx, session)
}

// errNoRelayd says that there is no relayd to ask.
var errNoRelayd = errors.New("no relayd")

// handOver gives the session to relayd, with the rights that the launcher gave, by which relayd knows a
// front end. Where relayd takes it this process only ends: to give up root in every thread would be a
// twentieth of its work.
func (s *Session) handOver(ctx context.Context, session *relay.Session) error {
	client := s.relayd()
	if !client.Available() {
		return errNoRelayd
	}
	s.left() // in time: where relayd takes it, the next one may come at once
	session.Info.Login = s.reportSoFar()
	err := client.Carry(ctx, session)
	s.tally.told = err == nil || errors.Is(err, relay.ErrLimit)
	return err
}

// carryHere relays the session in this process until it is over. The end of ctx (SIGTERM, SIGHUP) ends it
// in order: what it holds is delivered, and both connections are closed.
func (s *Session) carryHere(ctx context.Context, session *relay.Session) error {
	s.release()
	var broken error
	ended := func(_ relay.Info, _ relay.Stats, err error) { broken = err }
	e, err := engine.New(engine.Config{Log: s.Log.Line, Ended: ended})
	if err == nil {
		defer e.Shutdown(context.Background())
		err = e.Carry(ctx, session)
	}
	if err != nil {
		s.logBroken(err)
		return ErrBroken
	}
	if e.Wait(ctx) != nil {
		e.Shutdown(context.Background())
		return nil
	}
	if broken != nil {
		s.logBroken(broken)
		return ErrBroken
	}
	return nil
}
