package resident

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"

	"mailproxy/internal/launch"
	"mailproxy/internal/successor"
	"mailproxy/relay/engine"
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
	kill := sync.OnceFunc(func() {
		_ = n.Kill()
		go func() { _, _ = n.Wait() }()
	})
	fail := func(what string, err error) (*successor.Next, error) {
		kill()
		n.carry.Close()
		return nil, fmt.Errorf("the new process %s: %w", what, err)
	}
	if err := engine.AwaitReady(ctx, n.handoff); err != nil {
		return fail("is not ready", err)
	}
	resume := func() {
		s.predecessors.resume()
		s.accepting.start()
		s.administration.start()
	}
	if err := errors.Join(s.accepting.stop(), s.predecessors.pause(), s.administration.stop()); err != nil {
		resume()
		return fail("gets nothing", err)
	}
	sessions := 0
	err = s.carrier.handOver(handoff.NewPeer(n.carry), func() (err error) {
		if err = tell(ctx, n.carry, s.inherited()); err == nil {
			sessions, err = s.engine.HandOver(ctx, n.handoff, kill)
		}
		return err
	})
	if err != nil {
		resume()
		return fail("does not take over", err)
	}
	s.predecessors.close()
	return &successor.Next{Process: n.Process, Sessions: sessions}, nil
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
	program.Environ, program.Conns, err = s.sockets.Leave(s.environ, left)
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
