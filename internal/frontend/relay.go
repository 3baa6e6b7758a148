package frontend

import (
	"context"
	"errors"
	"net"

	"golang.org/x/sys/unix"

	"mailproxy/internal/inetd"
	"mailproxy/relay"
)

// reserve asks relayd, if there is one, for a place for the session: while the client has not been told that it is
// logged in, a limit of relayd's can still be answered. It is asked with the rights that the launcher gave, by which relayd knows
// a front end. No relayd, or one that can not take the session, is no error: the session is relayed here.
func (s *Session) reserve(ctx context.Context, o *Outcome) error {
	if !s.relaydThere() {
		return nil
	}
	info := s.relayInfo(o)
	info.Login = s.reportSoFar()
	place, err := relay.Reserve(ctx, s.Config.RelaySocket, s.Conn, o.Mailhost.Conn, info, s.relayOptions())
	s.tally.told = err == nil || errors.Is(err, relay.ErrLimit)
	switch {
	case errors.Is(err, relay.ErrLimit):
		s.logRelayLimit(o.Account.Address, err)
		return ErrTemporary
	case err != nil:
		s.logRelayd(err)
	}
	o.place = place
	return nil
}

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
	return relay.Options{KeepAlive: s.Config.Keepalive, HalfClosed: s.Config.HalfClosed, Long: s.long}
}

// Relay joins the client and the mailhost until both are done and logs the end of the session. When relayd takes the
// session, it returns at once. Both connections are closed when it returns. Nothing is relayed with root rights.
func (s *Session) Relay(ctx context.Context, o *Outcome) error {
	s.release()
	defer o.Mailhost.Conn.Close()
	defer s.Conn.Close()
	if o.place != nil {
		err := o.place.Start(ctx)
		if err == nil {
			return nil
		}
		s.logRelayd(err) // and the session goes on here
		s.tally.told = false
		s.reportLogin(o, nil)
		if err := s.System.DropRoot(s.Config.RelayUser); err != nil {
			s.logDropRoot(err)
			return err
		}
	}
	info := s.relayInfo(o)
	unlisted := info
	unlisted.Protocol = "" // the line at the end is ours
	if err := s.goOn(ctx, unlisted, s.Conn, o.Mailhost.Conn); err != nil {
		s.logRelayd(err)
		return err
	}
	stats, err := relay.Join(ctx, s.Conn, o.Mailhost.Conn, s.relayOptions())
	if err != nil {
		s.logBroken(err)
		hangUp(s.Conn)
		hangUp(o.Mailhost.Conn)
	}
	s.Log.Line(relay.EndLine(info, stats))
	return err
}

// hangUp closes a connection after a session that was cut off. Over TLS that is without close_notify: the end that one
// side did not say must not be told to the other.
func hangUp(conn inetd.Conn) {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
		over.NetConn().Close()
	}
	conn.Close()
}
