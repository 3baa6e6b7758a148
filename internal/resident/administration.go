package resident

import (
	"context"
	"net"
	"time"

	"mailproxy/internal/launch"
	"mailproxy/internal/loglimit"
	"mailproxy/internal/metrics"
	"mailproxy/internal/peercred"
	"mailproxy/internal/successor"
	"mailproxy/relay/admin"
	"mailproxy/relay/handoff"
)

const (
	maxAdministrators = 16               // who are answered at a time; others wait in the listen queue
	administratorTime = 10 * time.Second // for one to ask
)

// newAdministrators is what answers administrators, on the socket that there may be for them. While sessions
// are on their way to another process they wait in the kernel's queue: a kick would miss these.
func (s *service) newAdministrators() *successor.Part {
	var complaints loglimit.Limit
	complain := func(what string) func(error) {
		return func(err error) {
			complaints.Count(administratorTime, func(n int) {
				s.log.Errf("admin socket: %s: %v%s", what, err, loglimit.More(n))
			})
		}
	}
	questions := &admin.Handler{Engine: s.engine, Stats: s.metrics}
	server := &handoff.Server{
		Allow: peercred.Own(), Denied: complain("a caller may not use this socket"),
		Most: maxAdministrators, Silence: administratorTime, Handle: questions.Handle,
		NotAccepted: complain("accept"), Log: s.log.Line,
	}
	return s.onNamed(launch.Admin, "the answer to an administrator", func(ctx context.Context, l net.Listener) {
		_ = server.Serve(ctx, l)
	})
}

// newScrapes is what answers Prometheus. That goes on while sessions are on their way to another process.
func (s *service) newScrapes() *successor.Part {
	return s.onNamed(launch.Metrics, "the answer to Prometheus", func(ctx context.Context, l net.Listener) {
		metrics.Serve(ctx, l, s.metrics, s.log.Line)
	})
}

// onNamed is a part that serves on a socket with a name, where there is one.
func (s *service) onNamed(socket, name string, serve func(context.Context, net.Listener)) *successor.Part {
	return &successor.Part{Name: name, Run: func(ctx context.Context) {
		if l := s.sockets.Named[socket]; l != nil {
			serve(ctx, l)
		}
	}}
}
