package resident

import (
	"context"
	"net"
	"sync"

	"mailproxy/internal/launch"
	"mailproxy/internal/metrics"
	"mailproxy/internal/peercred"
	"mailproxy/relay/admin"
)

// administration answers administrators and Prometheus, on the sockets that there are for them.
type administration struct {
	server   admin.Server
	l        *net.UnixListener // nil: no admin socket
	prom     net.Listener      // nil: no metrics
	stopping context.CancelFunc

	mu      sync.Mutex
	running sync.WaitGroup     // metrics
	cancel  context.CancelFunc // nil: administrators wait
	ended   chan struct{}      // closed when nobody is answered since cancel
}

func newAdministration(s *service) *administration {
	a := &administration{prom: s.sockets.Named[launch.Metrics]}
	a.l, _ = s.sockets.Named[launch.Admin].(*net.UnixListener)
	a.server = admin.Server{
		Handler: admin.Handler{Engine: s.engine, Stats: s.metrics},
		Allow:   peercred.Own(),
		Log:     s.log.Line,
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.stopping = cancel
	if a.prom != nil {
		a.running.Go(func() { metrics.Serve(ctx, a.prom, s.metrics, s.log.Line) })
	}
	return a
}

// start has administrators answered.
func (a *administration) start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.l == nil || a.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.server.Serve(ctx, a.l)
	}()
	a.cancel, a.ended = cancel, done
}

// stop has administrators wait in the kernel's queue: sessions are on their way to another process, and a
// kick would miss them. Prometheus goes on being answered.
func (a *administration) stop() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cancel == nil {
		return nil
	}
	a.cancel()
	a.cancel = nil
	ended := a.ended
	return waitAtMost("the answer to an administrator", restTime, func() { <-ended })
}

// close ends it. Where another process has the sockets, nobody notices.
func (a *administration) close() {
	_ = a.stop()
	a.stopping()
	_ = waitAtMost("the answer to Prometheus", restTime, a.running.Wait)
}
