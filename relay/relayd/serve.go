package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/metrics"
	"mailproxy/internal/systemd"
)

const (
	stopTime    = 2 * time.Second // for sessions to be delivered what they hold
	restartTime = time.Second     // for a restart that a signal interrupts to give up
)

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
		go metrics.Serve(ctx, in.metrics, s.metrics, s.log.line)
	}
	_ = systemd.Notify("READY=1\nMAINPID=" + strconv.Itoa(os.Getpid()))
	go s.tidy(ctx)

	err := s.wait(ctx, in, signals, failed, getenv)
	cancel()
	in.close()
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

// restarted is what became of a restart.
type restarted struct {
	sessions int
	process  *os.Process // the new one
	err      error
}

// wait returns when the service is to end: nil for an orderly end.
func (s *service) wait(ctx context.Context, in *inherited, signals <-chan os.Signal, failed <-chan error,
	getenv func(string) string) error {
	var restarting chan restarted // nil: no restart is going on
	again := false                // another one was asked for meanwhile
	rctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	begin := func() {
		restarting = make(chan restarted, 1)
		go func(done chan<- restarted) {
			done <- s.restart(rctx, in, getenv)
		}(restarting)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case sig := <-signals:
			switch {
			case sig == unix.SIGHUP && restarting == nil:
				begin()
				continue
			case sig == unix.SIGHUP:
				again = true
				continue
			case restarting != nil:
				giveUp()
				select {
				case r := <-restarting:
					if r.err == nil { // the service is the new process by now
						s.passedOn(r.sessions)
						_ = r.process.Signal(unix.SIGTERM)
						return nil
					}
				case <-time.After(restartTime):
				}
			}
			in.removeFiles()
			_ = systemd.Notify("STOPPING=1")
			return nil
		case r := <-restarting:
			restarting = nil
			if r.err == nil {
				s.passedOn(r.sessions)
				in.close()
				if again { // what it was about may have come after the new process had looked
					_ = r.process.Signal(unix.SIGHUP)
				}
				s.linger(ctx, r.process, signals)
				return nil
			}
			s.counters.restartFailed.Store(true)
			s.log.line(fmt.Sprintf("ERR: relayd: restart failed, this process goes on: %v", r.err))
			if again {
				again = false
				begin()
			}
		}
	}
}

func (s *service) passedOn(n int) {
	s.log.line(fmt.Sprintf("INFO: relayd: %d sessions passed on", n))
}

// linger waits for the sessions that could not be passed on, at most the time that was set. SIGHUP is for the
// new process.
func (s *service) linger(ctx context.Context, next *os.Process, signals <-chan os.Signal) {
	ctx, cancel := context.WithTimeout(ctx, s.conf.linger)
	defer cancel()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case sig := <-signals:
				if sig == unix.SIGHUP {
					_ = next.Signal(sig)
				} else {
					cancel()
				}
			}
		}
	}()
	_ = s.engine.Wait(ctx)
}
