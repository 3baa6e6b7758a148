package resident

import (
	"context"
	"os/signal"
	"syscall"

	"mailproxy/internal/launch"
)

// takeOver takes the place of the process that has started this one: its sessions, what it has learned, and
// the logins that are under way there. Everything that can fail has been done by then: the old process goes
// on when this one does not come so far, or is ended by a signal on the way.
func (s *service) takeOver(ctx context.Context, in *launch.Inherited) error {
	defer in.Handoff.Close()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	received := receiveState(in.Predecessors[len(in.Predecessors)-1])
	n, err := s.engine.TakeOver(ctx, in.Handoff)
	if err != nil {
		return err
	}
	s.statistics.Taken.Add(int64(n))
	if err := restoreState(s.inherited(), <-received); err != nil {
		s.log.Warnf("from before the reload is forgotten: %v", err)
	}
	s.takenOver = &n
	return nil
}
