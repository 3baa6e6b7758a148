package frontend

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// stopping ends a session's context with SIGTERM or SIGHUP, from when listen is called: something takes its time. Before that
// the signals just end the process. To listen costs threads, a sixth of a login's processor time, and most logins are over by then.
type stopping struct {
	ctx    context.Context
	cancel context.CancelFunc
	once   sync.Once
}

func newStopping(parent context.Context) *stopping {
	s := &stopping{}
	s.ctx, s.cancel = context.WithCancel(parent)
	return s
}

// listen may be called any number of times.
func (s *stopping) listen() {
	s.once.Do(func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
		go func() {
			defer signal.Stop(signals)
			select {
			case <-signals:
				s.cancel()
			case <-s.ctx.Done():
			}
		}()
	})
}
