package resident

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"

	"mailproxy/internal/launch"
	"mailproxy/internal/successor"
	"mailproxy/relay/handoff"
)

// next is a process that may take this one's place.
type next struct {
	*os.Process
	handoff *net.UnixConn // for the sessions
	carry   *net.UnixConn // for those of logins that are under way
}

// reload starts the program as it is on disk now, with the settings as they are now, and has it take the
// listening sockets and the sessions. Nothing is refused: clients that connect wait in the kernel's queue
// until one of the two accepts them, and a login that is under way ends here. When anything fails, everything
// goes on here, with the old settings. The end of ctx is such a failure.
func (s *service) reload(ctx context.Context) (*successor.Next, error) {
	defer s.reserve.Fill()
	n, err := s.startNext()
	if err != nil {
		return nil, err
	}
	defer n.handoff.Close()
	next, err := s.engine.PassOn(ctx, n.Process, n.handoff, func() (resume func(), err error) {
		err = errors.Join(s.accepting.stop(), s.predecessors.pause(), s.administration.stop())
		if err == nil {
			err = s.carrier.close(restTime)
		}
		if err == nil {
			err = sendState(ctx, n.carry, s.inherited())
		}
		return func() {
			s.carrier.reopen(nil)
			s.predecessors.resume()
			s.accepting.start()
			s.administration.start()
		}, err
	})
	if err != nil {
		n.carry.Close()
		return nil, err
	}
	s.carrier.reopen(handoff.NewPeer(n.carry))
	s.predecessors.close()
	return next, nil
}

// startNext starts the process.
func (s *service) startNext() (*next, error) {
	ours, theirs, err := s.reserve.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	carry, theirCarry, err := s.reserve.Pair()
	if err != nil {
		ours.Close()
		return nil, err
	}
	defer theirCarry.Close()
	n := &next{handoff: ours, carry: carry}
	left := &launch.Inherited{Handoff: theirs, Predecessors: append(s.predecessors.all(), theirCarry)}
	program := successor.Program{Path: s.program, Args: slices.Concat([]string{s.program}, s.args)}
	program.Environ, program.Conns, err = s.sockets.ForSuccessor(s.environ, left)
	if err == nil {
		n.Process, err = s.reserve.Start(&program)
	}
	if err != nil {
		n.handoff.Close()
		n.carry.Close()
		return nil, err
	}
	return n, nil
}
