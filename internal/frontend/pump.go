package frontend

import (
	"context"
	"errors"

	"mailproxy/internal/inetd"
	"mailproxy/relay"
)

// ErrServed is what ExecLocal returns when the session is over because a local server behind our TLS has served it. Nothing
// is left to say or to log.
var ErrServed = errors.New("served by the local server")

// pumpLocal starts the local server on a socket pair and carries its session through our TLS until both directions are
// done: then the error is ErrServed. Any other error says that the server did not start; this process has not changed then.
func (s *Session) pumpLocal(ctx context.Context, l *inetd.Local, address string) error {
	ours, theirs, err := inetd.Pair()
	if err != nil {
		return err
	}
	server, err := s.System.Start(theirs, l)
	theirs.Close()
	if err != nil {
		ours.Close()
		return err
	}
	defer ours.Close()
	defer s.Conn.Close()
	_ = server.Release() // this process ends when the session does: nobody waits for the server
	if s.pumpedByRelayd(ctx, ours, address) {
		return ErrServed
	}
	if err := s.dropRoot(); err != nil {
		s.logDropRoot(err)
		return ErrServed
	}
	s.release()
	if _, err := relay.Join(ctx, s.Conn, ours, s.relayOptions()); err != nil {
		s.logBroken(err)
		hangUp(s.Conn)
	}
	return ErrServed
}

// pumpedByRelayd gives relayd, if there is one, our TLS and our end of the socket pair: then this process is not needed any more.
func (s *Session) pumpedByRelayd(ctx context.Context, ours inetd.Conn, address string) bool {
	if !s.relaydThere() {
		return false
	}
	err := relay.HandOver(ctx, s.Config.RelaySocket, s.Conn, ours, s.localInfo(address), relay.Options{Users: s.Config.RelaydUsers})
	if err != nil {
		s.logRelayd(err)
	}
	return err == nil
}

// localInfo is what relayd calls the session of a local server, which writes its own line at the end.
func (s *Session) localInfo(address string) relay.Info {
	return relay.Info{User: address, RemoteIP: s.Peer.RemoteIP, RemotePort: s.Peer.RemotePort, Mailhost: "local", Start: s.System.Now()}
}
