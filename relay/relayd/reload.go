package main

import (
	"context"
	"net"

	"mailproxy/internal/successor"
)

// inheritVariable names what a relayd that takes over inherits: "handoff,socket" or "handoff,socket,metrics".
const inheritVariable = "RELAYD_INHERIT"

// reload starts our program anew, perhaps a new version of it, and passes all sessions on. Nobody notices:
// connections change hands as file descriptors, with the bytes that are held and the keys of TLS. A session
// leaves this process when the new one has said that it serves it; when anything fails, everything goes on
// here. The end of ctx is such a failure.
func (s *service) reload(ctx context.Context) (*successor.Next, error) {
	defer s.reserve.Fill()
	next := successor.Program{Path: s.conf.program, Args: s.conf.args, Environ: s.conf.environ,
		Variable: inheritVariable, Inherit: []successor.Descriptor{{Name: "socket", Conn: s.sockets.socket}}}
	if s.sockets.metrics != nil {
		next.Inherit = append(next.Inherit, successor.Descriptor{Name: "metrics", Conn: s.sockets.metrics})
	}
	process, c, err := s.reserve.Start(next)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return s.engine.PassOn(ctx, process, c, func() (func(), error) { return s.callers.Start, s.callers.Stop() })
}

// takeOver is the new process's side.
func (s *service) takeOver(ctx context.Context, c *net.UnixConn) (err error) {
	s.takenOver, err = successor.TakeOver(ctx, c, s.engine.TakeOver)
	return err
}
