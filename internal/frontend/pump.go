package frontend

import (
	"context"
	"errors"

	"mailproxy/internal/launch"
	"mailproxy/internal/local"
	"mailproxy/relay"
)

// ErrServed is what ExecLocal returns when the session is over because a local server behind our TLS has
// served it. Nothing is left to say or to log.
var ErrServed = errors.New("served by the local server")

// pumpLocal starts the local server on a socket pair and carries its session through our TLS until both
// directions are done: then the error is ErrServed. Any other error says that the server did not start;
// this process has not changed then.
func (s *Session) pumpLocal(ctx context.Context, l *local.Server, address string) error {
	ours, theirs, err := launch.Pair()
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
	session := s.relaySession(ours, s.localInfo(address))
	if relayd := s.relayd(); relayd.Available() { // then this process is not needed any more
		err := relayd.Carry(ctx, session)
		if err == nil {
			return ErrServed
		}
		s.logRelayd(err)
	}
	if err := s.dropRoot(); err != nil {
		s.logDropRoot(err)
		return ErrServed
	}
	_ = s.carryHere(ctx, session)
	return ErrServed
}

// localInfo is what the session of a local server is called, which writes its own line at the end.
func (s *Session) localInfo(address string) relay.Info {
	return relay.Info{User: address, RemoteIP: s.Peer.RemoteIP, RemotePort: s.Peer.RemotePort,
		Mailhost: "local", Start: s.System.Now()}
}
