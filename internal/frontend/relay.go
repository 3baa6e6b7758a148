package frontend

import (
	"context"
	"errors"
	"net"

	"golang.org/x/sys/unix"

	"mailproxy/internal/inetd"
	"mailproxy/relay"
)

// relaydThere tells whether it is worth asking.
func (s *Session) relaydThere() bool {
	if s.Config.RelaySocket == "" {
		return false
	}
	return unix.Access(s.Config.RelaySocket, unix.F_OK) == nil
}

func (s *Session) relayInfo(o *Outcome) relay.Info {
	return relay.Info{
		User: o.Account.Address, Protocol: s.Protocol.Name,
		RemoteIP: s.Peer.RemoteIP, RemotePort: s.Peer.RemotePort,
		Mailhost: o.Mailhost.Host, Start: s.System.Now(),
	}
}

func (s *Session) relayOptions() relay.Options {
	return relay.Options{KeepAlive: s.Config.Keepalive, HalfClosed: s.Config.HalfClosed, Users: s.Config.RelaydUsers}
}

// Relay tells the client answer, that it is logged in, and joins it and the mailhost until both are done;
// when relayd takes the session, it returns at once. Nothing is relayed with root rights. Errors:
// ErrTemporary and ErrEnd as from Login, when the client has been told nothing and its connection is as it
// was; ErrHome when this process must not serve anybody else; ErrBroken when the session was cut off, by then
// logged. The mailhost's connection is closed in any case, after nil and ErrBroken the client's as well.
func (s *Session) Relay(ctx context.Context, o *Outcome, answer string) error {
	defer o.Mailhost.Conn.Close()
	options := s.relayOptions()
	options.First = answer
	err := s.handOver(ctx, o, options)
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
		if errors.Is(err, inetd.ErrChanged) {
			return ErrHome
		}
		return s.refuse(ctx, ErrTemporary)
	}
	s.logLogin(o.Account.Address)
	defer s.Conn.Close()
	return s.join(ctx, o, options)
}

// errNoRelayd says that there is no relayd to ask.
var errNoRelayd = errors.New("no relayd")

// handOver gives the session to relayd, with the rights that the launcher gave, by which relayd knows a front
// end. Where relayd takes it this process only ends: to give up root in every thread would be a twentieth of
// its work.
func (s *Session) handOver(ctx context.Context, o *Outcome, options relay.Options) error {
	if !s.relaydThere() {
		return errNoRelayd
	}
	s.left() // in time: where relayd takes it, the next one may come at once
	info := s.relayInfo(o)
	info.Login = s.reportSoFar()
	err := relay.HandOver(ctx, s.Config.RelaySocket, s.Conn, o.Mailhost.Conn, info, options)
	s.tally.told = err == nil || errors.Is(err, relay.ErrLimit)
	return err
}

// join relays the session in this process.
func (s *Session) join(ctx context.Context, o *Outcome, options relay.Options) error {
	s.release()
	info := s.relayInfo(o)
	stats, err := relay.Join(ctx, s.Conn, o.Mailhost.Conn, options)
	if err != nil {
		s.logBroken(err)
		hangUp(s.Conn)
		hangUp(o.Mailhost.Conn)
		err = ErrBroken
	}
	s.Log.Line(relay.EndLine(info, stats))
	return err
}

// hangUp closes a connection after a session that was cut off. Over TLS that is without close_notify: the end
// that one side did not say must not be told to the other.
func hangUp(conn inetd.Conn) {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
		over.NetConn().Close()
	}
	conn.Close()
}
