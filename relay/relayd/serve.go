package main

import (
	"context"
	"os"
	"time"

	"mailproxy/internal/metrics"
	"mailproxy/internal/successor"
	"mailproxy/internal/systemd"
	"mailproxy/internal/unixsocket"
)

// stopTime is for sessions to be delivered what they hold.
const stopTime = 2 * time.Second

// serve runs the service until a signal says otherwise. Every wait on the way out is limited: whatever else
// goes on, the service ends within 5 seconds of the signal.
func (s *service) serve(ctx context.Context, in *inherited, signals <-chan os.Signal,
	getenv func(string) string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		if err := s.accept(ctx, in.socket); err != nil {
			failed <- err
		}
	}()
	if in.metrics != nil {
		go metrics.Serve(ctx, in.metrics, s.metrics, s.log.Line)
	}
	_ = systemd.Ready(os.Getpid())
	go s.tidy(ctx)

	loop := &successor.Loop{
		Signals: signals, Failed: failed, Log: s.log.Line, Prefix: "relayd: ", Ending: in.removeFiles,
		Replace:      func(ctx context.Context) (*successor.Next, error) { return s.restart(ctx, in, getenv) },
		ReloadFailed: &s.counters.restartFailed,
		Addresses:    []string{unixsocket.Path(in.socket, s.conf.socket)}, TakenOver: s.takenOver,
		Sessions: func() int { return s.engine.Totals().Counted },
	}
	next, err := loop.Wait(ctx)
	in.close()
	if next != nil {
		ctx, stop := loop.Linger(ctx, next)
		sessions, stopSessions := context.WithTimeout(ctx, s.conf.linger)
		if s.engine.Wait(sessions) != nil && ctx.Err() == nil {
			loop.Ends("-linger is over")
		}
		stopSessions()
		stop()
	}
	cancel()
	s.conversations.pause(ctx, in.socket, 0)
	end, stop := context.WithTimeout(context.Background(), stopTime)
	defer stop()
	s.engine.Shutdown(end)
	return err
}

// close stops listening.
func (in *inherited) close() {
	in.socket.Close()
	if in.metrics != nil {
		in.metrics.Close()
	}
}
