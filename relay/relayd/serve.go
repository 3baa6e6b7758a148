package main

import (
	"context"
	"os"
	"time"

	"mailproxy/internal/metrics"
	"mailproxy/internal/successor"
	"mailproxy/internal/unixsocket"
)

// stopTime is for sessions to be delivered what they hold.
const stopTime = 2 * time.Second

// serve runs the service until a signal says otherwise. Every wait on the way out is limited: whatever else
// goes on, the service ends within 5 seconds of the signal.
func (s *service) serve(ctx context.Context, signals <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.callers.Start()
	if s.sockets.metrics != nil {
		go metrics.Serve(ctx, s.sockets.metrics, s.metrics, s.log.Line)
	}
	go s.tidy(ctx)
	loop := &successor.Loop{
		Signals: signals, Failed: s.failed, Log: s.log.Line, Prefix: "relayd: ",
		Ending: s.sockets.removeFiles, Close: s.sockets.close,
		Replace: s.reload, ReloadFailed: &s.counters.reloadFailed,
		Addresses: []string{unixsocket.Path(s.sockets.socket, s.conf.socket)}, TakenOver: s.takenOver,
		Sessions:    func() int { return s.engine.Totals().Counted },
		SessionsEnd: s.engine.Wait, Linger: s.conf.linger,
	}
	err := loop.Run(ctx)
	cancel()
	_ = s.callers.Close()
	end, stop := context.WithTimeout(context.Background(), stopTime)
	defer stop()
	s.engine.Shutdown(end)
	return err
}
