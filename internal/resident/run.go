package resident

import (
	"context"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/launch"
	"mailproxy/internal/systemd"
)

// The time limits on the way out. Whatever else goes on, the process ends within 5 seconds of SIGTERM.
const (
	farewellTime = time.Second     // for clients that have not logged in to be told
	stopTime     = 2 * time.Second // for sessions to be delivered what is held for them
	restartTime  = time.Second     // for a reload that is interrupted to give up
)

// run serves until a signal says otherwise, or a socket fails for good.
func (s *service) run(ctx context.Context, signals <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.accepting.enter = func(l *launch.Listener, c launch.Conn) bool {
		s.numbers.connections.Add(1)
		entered := s.entrance.enter()
		if !entered {
			s.numbers.turnedAway.Add(1)
			s.entrance.turnAway(c, l.TLS)
		}
		return entered
	}
	s.accepting.serve = func(l *launch.Listener, c launch.Conn) {
		defer s.entrance.leave()
		server := s.server
		if l.TLS {
			server = s.overTLS
		}
		server.ServeConn(ctx, c, launch.NewPeer(nil, c))
	}
	s.predecessors.resume()
	s.accepting.start()
	s.administration = newAdministration(s)
	s.administration.start()
	notify("READY=1", mainPID(os.Getpid()))

	err := s.wait(ctx, cancel, signals)
	cancel()
	s.administration.close()
	s.accepting.close()
	_ = s.predecessors.pause()
	s.predecessors.close()
	end, stop := context.WithTimeout(context.Background(), farewellTime)
	defer stop()
	s.conns.wait(end)
	end, stop = context.WithTimeout(context.Background(), stopTime)
	defer stop()
	s.engine.Shutdown(end)
	return err
}

// notify tells systemd.
func notify(states ...string) {
	all := ""
	for _, state := range states {
		all += state + "\n"
	}
	_ = systemd.Notify(all)
}

func mainPID(pid int) string { return "MAINPID=" + strconv.Itoa(pid) }

// wait returns when the process is to end: nil for an orderly end. cancel ends the connections that have not
// logged in.
func (s *service) wait(ctx context.Context, cancel context.CancelFunc, signals <-chan os.Signal) error {
	var reloading chan reloaded // nil: no reload is going on
	again := false              // another one was asked for meanwhile
	rctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	begin := func() {
		reloading = make(chan reloaded, 1)
		notify("RELOADING=1", monotonic())
		go func(done chan<- reloaded) { done <- s.reload(rctx) }(reloading)
	}
	idle := s.idleTimer()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.accepting.failed:
			return err
		case <-idle:
			if s.deserted() {
				s.log.Infof("no connection for %v: ending until the next one", s.idle)
				return nil
			}
			idle = s.idleTimer()
		case sig := <-signals:
			switch {
			case sig == syscall.SIGHUP && s.sockets.Wait:
				s.log.Warnf("SIGHUP has no effect under inetd's wait: settings are read at the next start, " +
					"which SIGTERM brings about")
			case sig == syscall.SIGHUP && reloading == nil:
				begin()
			case sig == syscall.SIGHUP:
				again = true
			default:
				notify("STOPPING=1")
				cancel()
				if reloading != nil {
					s.interrupt(reloading)
				}
				return nil
			}
		case r := <-reloading:
			reloading = nil
			if r.err == nil {
				s.replaced(ctx, r, again, signals)
				return nil
			}
			s.numbers.reloadFailed.Store(true)
			s.log.Errf("reload failed, this process goes on with its settings: %v", r.err)
			notify("READY=1")
			if again {
				again = false
				begin()
			}
		}
	}
}

// monotonic is the time that systemd wants to know of a reload.
func monotonic() string {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return "MONOTONIC_USEC=" + strconv.FormatInt(t.Nano()/1000, 10)
}

// interrupt has a reload, whose context has ended, give up. Where it was too late for that, the service is
// the new process by now, which is to end as well.
func (s *service) interrupt(reloading <-chan reloaded) {
	select {
	case r := <-reloading:
		if r.err == nil {
			s.passedOn(r)
			_ = r.process.Signal(syscall.SIGTERM)
		}
	case <-time.After(restartTime):
	}
}

func (s *service) passedOn(r reloaded) {
	s.log.Infof("%d sessions passed on to process %d", r.sessions, r.process.Pid)
}

// replaced is the rest of this process's life once another one has taken its place: the logins that are under
// way, and the sessions that could not be passed on.
func (s *service) replaced(ctx context.Context, r reloaded, again bool, signals <-chan os.Signal) {
	// systemd has to know before this process ends: else it takes the service for ended, and stops the new
	// process.
	notify("READY=1", mainPID(r.process.Pid))
	s.administration.close()
	s.accepting.close()
	s.passedOn(r)
	if again { // what it was about may have come after the new process had looked
		_ = r.process.Signal(syscall.SIGHUP)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case sig := <-signals:
				if sig == syscall.SIGHUP { // meant for the service
					_ = r.process.Signal(sig)
				} else {
					stop()
				}
			}
		}
	}()
	s.conns.wait(ctx)
	sessions, stopSessions := context.WithTimeout(ctx, s.linger)
	defer stopSessions()
	_ = s.engine.Wait(sessions)
}

// idleTimer fires when it is time to look whether somebody still needs this process; nil: that is not asked.
func (s *service) idleTimer() <-chan time.Time {
	if !s.sockets.Wait {
		return nil
	}
	rest := s.idle - s.conns.idle()
	return time.After(max(rest, s.idle/10, time.Millisecond))
}

// deserted says that this process, for which an inetd waits, has served nobody for long enough. It accepts
// nobody then: what comes in this moment stays in the queue of the inetd's socket.
func (s *service) deserted() bool {
	if s.conns.idle() < s.idle || s.engine.Totals().Counted > 0 {
		return false
	}
	// Somebody may have come before that.
	if s.accepting.stop() == nil && s.conns.idle() >= s.idle && s.engine.Totals().Counted == 0 {
		return true
	}
	s.accepting.start()
	return false
}
