package resident

import (
	"context"
	"errors"
	"os"
	"time"

	"mailproxy/internal/successor"
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
	accepting, administrators, scrapes := s.newAcceptor(ctx), s.newAdministrators(), s.newScrapes()
	s.parts = []*successor.Part{&s.predecessors.Part, accepting, administrators}
	s.startParts()
	scrapes.Start()
	loop := &successor.Loop{
		Signals: signals, Failed: s.failed, Ending: cancel, Log: s.log.Line,
		Replace: s.reload, ReloadFailed: &s.statistics.reloadFailed,
		Addresses: s.listenAddresses(), TakenOver: s.takenOver,
		Sessions: s.sessions,
		Close: func() {
			_ = administrators.Close()
			_ = scrapes.Close()
			_ = accepting.Close()
			s.sockets.Close()
		},
		Logins: s.conns.wait, SessionsEnd: s.wait, Linger: s.linger,
	}
	if s.sockets.Wait {
		loop.NoReload = "under inetd's wait: settings are read at the next start, which SIGTERM brings about"
		go s.endWhenIdle(ctx, accepting, cancel)
	}
	err := loop.Run(ctx)
	cancel()
	s.predecessors.close()
	end, stop := context.WithTimeout(context.Background(), farewellTime)
	defer stop()
	s.conns.wait(end)
	end, stop = context.WithTimeout(context.Background(), stopTime)
	defer stop()
	s.engine.Shutdown(end)
	s.pumps.Shutdown()
	return err
}

// sessions counts those that end with this process: what it carries, and what the pumps serve for others.
func (s *service) sessions() int { return max(s.engine.Totals().Counted, s.pumps.Count()) }

// wait waits for the end of what sessions counts, or of ctx.
func (s *service) wait(ctx context.Context) error {
	return errors.Join(s.engine.Wait(ctx), s.pumps.Wait(ctx))
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
func (s *service) endWhenIdle(ctx context.Context, accepting *successor.Part, end func()) {
	for {
		rest := s.idle - s.conns.idle()
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(rest, s.idle/10, time.Millisecond)):
		}
		if s.stopIfIdle(accepting) {
			s.log.Infof("no connection for %v: ending until the next one", s.idle)
			end()
			return
		}
	}
}

// stopIfIdle stops accepting when this process, for which an inetd waits, has served nobody for long enough,
// and says whether it has: what comes in this moment stays in the queue of the inetd's socket.
func (s *service) stopIfIdle(accepting *successor.Part) bool {
	if s.conns.idle() < s.idle || s.sessions() > 0 {
		return false
	}
	// Somebody may have come before that.
	if accepting.Stop() == nil && s.conns.idle() >= s.idle && s.sessions() == 0 {
		return true
	}
	accepting.Start()
	return false
}
