package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/systemd"
)

// serve runs loops and listeners until a signal says otherwise.
func (s *service) serve(ctx context.Context, in *inherited, signals <-chan os.Signal, getenv func(string) string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, len(s.loops)+2)
	var running sync.WaitGroup
	for _, l := range s.loops {
		running.Go(func() {
			if err := l.run(); err != nil {
				failed <- fmt.Errorf("event loop: %w", err)
			}
		})
	}
	for _, x := range s.adopted {
		s.start(x)
	}
	s.adopted = nil
	go func() { failed <- s.accept(ctx, in.socket) }()
	if in.metrics != nil {
		go func() { failed <- s.serveMetrics(ctx, in.metrics) }()
	}
	_ = systemd.Notify("READY=1\nMAINPID=" + strconv.Itoa(os.Getpid()))
	go s.tidy(ctx)

	err := s.wait(ctx, in, signals, failed, getenv)
	cancel()
	in.socket.Close()
	if in.metrics != nil {
		in.metrics.Close()
	}
	for _, l := range s.loops {
		l.post(func() { l.stopped = true })
	}
	running.Wait()
	return err
}

// wait returns when the service is to end: nil for an orderly end.
func (s *service) wait(ctx context.Context, in *inherited, signals <-chan os.Signal, failed <-chan error, getenv func(string) string) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case sig := <-signals:
			if sig != unix.SIGHUP {
				in.removeFiles()
				_ = systemd.Notify("STOPPING=1")
				return nil
			}
			n, err := s.restart(ctx, in, getenv)
			if err != nil {
				s.log.line(fmt.Sprintf("ERR: relayd: restart failed, this process goes on: %v", err))
				continue
			}
			s.log.line(fmt.Sprintf("INFO: relayd: %d sessions passed on", n))
			in.socket.Close()
			if in.metrics != nil {
				in.metrics.Close()
			}
			s.drain(ctx, signals)
			return nil
		}
	}
}

// drain waits for the sessions that could not be passed on, at most the time that was set.
func (s *service) drain(ctx context.Context, signals <-chan os.Signal) {
	end := time.After(s.conf.linger)
	poll := time.NewTicker(time.Second)
	defer poll.Stop()
	for s.limits.now() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-end:
			return
		case sig := <-signals:
			if sig != unix.SIGHUP {
				return
			}
		case <-poll.C:
		}
	}
}

// tidy returns memory to the system after times of many hand-overs.
func (s *service) tidy(ctx context.Context) {
	t := time.NewTicker(2 * time.Second)
	defer t.Stop()
	var seen, tidied int64
	for {
		collect()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := s.counters.taken.Load() + s.counters.ended.Load() + s.counters.reported.Load()
		if now == seen && now != tidied {
			debug.FreeOSMemory()
			tidied = now
		}
		seen = now
	}
}

// collect sets how much may be allocated before the next collection: a fifth of what lives, as little is allocated and a small
// heap matters, but some megabytes in any case: hand-overs by the hundred would else cost a collection each few. What they leave goes
// back to the system when they pause.
func collect() {
	const floor = 8 << 20
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := 400
	if live[0].Value.Kind() == metrics.KindUint64 {
		percent = max(20, int(min(400, floor*100/max(live[0].Value.Uint64(), 1))))
	}
	debug.SetGCPercent(percent)
}
