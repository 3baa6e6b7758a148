package resident

import (
	"context"
	"errors"
	"slices"

	"mailproxy/internal/launch"
	"mailproxy/internal/successor"
	"mailproxy/relay/handoff"
)

// reload starts the program as it is on disk now, with the settings as they are now, and has it take the
// listening sockets and the sessions. Nothing is refused: clients that connect wait in the kernel's queue
// until one of the two accepts them, and a login that is under way ends here. When anything fails, everything
// goes on here, with the old settings. The end of ctx is such a failure.
func (s *service) reload(ctx context.Context) (_ *successor.Next, err error) {
	defer s.reserve.Fill()
	carry, theirs, err := s.reserve.Pair() // for the sessions of logins that are under way
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	defer func() {
		if err != nil {
			carry.Close()
		}
	}()
	program := successor.Program{
		Path: s.program, Args: slices.Concat([]string{s.program}, s.args), Environ: s.sockets.Environ,
		Variable: launch.VariableInherit, Inherit: s.sockets.Descriptors(),
	}
	for _, c := range append(s.predecessors.all(), theirs) {
		program.Inherit = append(program.Inherit, successor.Descriptor{Name: launch.Predecessor, Conn: c})
	}
	process, c, err := s.reserve.Start(program)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	next, err := s.engine.PassOn(ctx, process, c, func() (resume func(), err error) {
		for _, p := range s.parts {
			err = errors.Join(err, p.Stop())
		}
		if err == nil {
			err = s.carrier.close()
		}
		if err == nil {
			err = sendState(ctx, carry, s.inherited())
		}
		return func() {
			s.carrier.reopen(nil)
			s.startParts()
		}, err
	})
	if err != nil {
		return nil, err
	}
	s.carrier.reopen(handoff.NewPeer(carry))
	s.predecessors.close()
	return next, nil
}

// startParts starts, or starts again, what stands still while another process takes over.
func (s *service) startParts() {
	for _, p := range s.parts {
		p.Start()
	}
}

// takeOver takes the place of the process that has started this one: its sessions, what it has learned, and
// the logins that are under way there. Everything that can fail has been done by then: the old process goes
// on when this one does not come so far, or is ended by a signal on the way.
func (s *service) takeOver(ctx context.Context, in *launch.Inherited) (err error) {
	received := receiveState(in.Predecessors[len(in.Predecessors)-1])
	if s.takenOver, err = successor.TakeOver(ctx, in.Handoff, s.engine.TakeOver); err != nil {
		return err
	}
	if err := restoreState(s.inherited(), <-received); err != nil {
		s.log.Warnf("what was learned before the reload is lost (failed logins, states of mailhosts): %v",
			err)
	}
	return nil
}
