package frontend

import (
	"context"
	"os"

	"mailproxy/internal/inetd"
	"mailproxy/internal/tlsconf"
	"mailproxy/relay"
)

// Relay joins the client and the mailhost until both are done and logs the end of the session. When relayd takes the
// session, it returns at once. Both connections are closed when it returns. Root rights were dropped by Login.
func (s *Session) Relay(ctx context.Context, o *Outcome) error {
	s.release()
	m := o.Mailhost
	defer m.Conn.Close()
	defer s.Conn.Close()
	info := relay.Info{
		User: o.Account.Address, Protocol: s.Protocol.Name,
		RemoteIP: s.Peer.RemoteIP, RemotePort: s.Peer.RemotePort,
		Mailhost: m.Host, Start: s.System.Now(),
	}
	if s.handedOver(ctx, m, info) {
		return nil
	}
	stats, err := relay.Join(ctx, s.Conn, m.Conn, relay.Options{KeepAlive: s.Config.Keepalive, Alone: s.Alone})
	if err != nil {
		s.logBroken(err)
		hangUp(s.Conn)
		hangUp(m.Conn)
	}
	s.Log.Line(relay.EndLine(info, stats))
	return err
}

// hangUp closes a connection after a session that was cut off. Over TLS that is without close_notify: the end that one
// side did not say must not be told to the other.
func hangUp(conn inetd.Conn) {
	if over, ok := conn.(*tlsconf.Conn); ok {
		over.NetConn().Close()
	}
	conn.Close()
}

// handedOver gives the session to relayd if there is one. Nothing has been read from the connections then, so that
// whatever goes wrong the session goes on here.
func (s *Session) handedOver(ctx context.Context, m *Mailhost, info relay.Info) bool {
	if s.Config.RelaySocket == "" {
		return false
	}
	if _, err := os.Stat(s.Config.RelaySocket); err != nil {
		return false
	}
	err := relay.HandOver(ctx, s.Config.RelaySocket, s.Conn, m.Conn, info)
	if err != nil {
		s.logRelayd(err)
	}
	return err == nil
}
