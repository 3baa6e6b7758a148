package resident

import (
	"context"
	"os"
	"time"

	"mailproxy/internal/launch"
	"mailproxy/internal/successor"
	"mailproxy/internal/systemd"
)

// The time limits on the way out. Whatever else goes on, the process ends within 5 seconds of SIGTERM.
const (
	farewellTime = time.Second     // for clients that have not logged in to be told
	stopTime     = 2 * time.Second // for sessions to be delivered what is held for them
)

// run serves until a signal says otherwise, or a socket fails for good.
func (s *service) run(ctx context.Context, signals <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.accepting.acquire = func(l *launch.Listener, c launch.Conn) bool {
		s.statistics.connections.Add(1)
		acquired := s.unauth.acquire()
		if !acquired {
			s.statistics.turnedAway.Add(1)
			s.unauth.refuse(c, l.TLS)
		}
		return acquired
	}
	s.accepting.serve = func(l *launch.Listener, c launch.Conn) {
		defer s.unauth.release()
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
	_ = systemd.Ready(os.Getpid())

	loop := &successor.Loop{
		Signals: signals, Failed: s.accepting.failed, Ending: cancel, Log: s.log.Line,
		Replace: s.reload, ReloadFailed: &s.statistics.reloadFailed,
		Addresses: s.listenAddresses(), TakenOver: s.takenOver,
		Sessions: func() int { return s.engine.Totals().Counted },
	}
	if s.sockets.Wait {
		loop.NoReload = "under inetd's wait: settings are read at the next start, which SIGTERM brings about"
		go s.endWhenIdle(ctx, cancel)
	}
	next, err := loop.Wait(ctx)
	s.administration.close()
	s.accepting.close()
	if next != nil {
		ctx, stop := loop.Linger(ctx, next)
		s.conns.wait(ctx) // logins that are under way
		sessions, stopSessions := context.WithTimeout(ctx, s.linger)
		if s.engine.Wait(sessions) != nil && ctx.Err() == nil {
			loop.Ends("-linger is over")
		}
		stopSessions()
		stop()
	}
	cancel()
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

// listenAddresses are those that clients come to, as the command line names them.
func (s *service) listenAddresses() (addresses []string) {
	for _, l := range s.sockets.Listeners {
		address := l.Addr().String()
		if l.TLS {
			address = "tls:" + address
		}
		addresses = append(addresses, address)
	}
	return addresses
}

// endWhenIdle ends a process that an inetd waits for when nobody needs it any more.
func (s *service) endWhenIdle(ctx context.Context, end func()) {
	for {
		rest := s.idle - s.conns.idle()
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(rest, s.idle/10, time.Millisecond)):
		}
		if s.stopIfIdle() {
			s.log.Infof("no connection for %v: ending until the next one", s.idle)
			end()
			return
		}
	}
}

// stopIfIdle stops accepting when this process, for which an inetd waits, has served nobody for long enough,
// and says whether it has: what comes in this moment stays in the queue of the inetd's socket.
func (s *service) stopIfIdle() bool {
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
