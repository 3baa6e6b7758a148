package successor

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/systemd"
	"mailproxy/internal/version"
)

// giveUpTime is for a reload that a signal interrupts to give up.
const giveUpTime = time.Second

// Next is a process that has taken this one's place.
type Next struct {
	*os.Process
	Sessions int // that it has taken over
}

// Loop is how a service waits for its end: SIGTERM and SIGINT end it, SIGHUP has another process replace it.
type Loop struct {
	Signals <-chan os.Signal
	// Failed gets an error that ends the service.
	Failed <-chan error
	// Replace starts a process and gives it everything. With an error, as the end of ctx is one, everything goes
	// on here.
	Replace func(ctx context.Context) (*Next, error)
	// ReloadFailed is set when Replace has failed.
	ReloadFailed *atomic.Bool
	// NoReload says why SIGHUP has no effect, where that is so.
	NoReload string
	// Ending is called first when a signal ends the service, before a reload that is going on gives up.
	Ending func()
	// Log writes one line. What stands between its level and its text is Prefix.
	Log    func(line string)
	Prefix string
	// What the line about the beginning says: where the service listens, and how many sessions it has taken
	// over; nil: there was no process before it.
	Addresses []string
	TakenOver *int
	// Sessions counts those that are here, for the line about the end.
	Sessions func() int
	// Close stops listening.
	Close func()
	// Logins waits for those that are under way, SessionsEnd for the sessions that could not be passed on, which
	// may stay as long as Linger, once another process has replaced this one. Both return with the end of ctx;
	// a nil Logins is for a service that has none.
	Logins      func(ctx context.Context)
	SessionsEnd func(ctx context.Context) error
	Linger      time.Duration
}

// Run tells systemd and the log that the service is there, and returns when nothing is to be waited for any
// more, with the end of ctx too: what is still here ends with this process.
func (l *Loop) Run(ctx context.Context) error {
	next, err := l.wait(ctx)
	l.Close()
	if next == nil {
		return err
	}
	ctx, stop := l.forward(ctx, next)
	defer stop()
	if l.Logins != nil {
		l.Logins(ctx)
	}
	sessions, stopSessions := context.WithTimeout(ctx, l.Linger)
	defer stopSessions()
	if l.SessionsEnd(sessions) != nil && ctx.Err() == nil {
		l.ends("-linger is over")
	}
	return nil
}

// wait returns when the service is to end, or next, the process that has replaced this one.
func (l *Loop) wait(ctx context.Context) (next *Next, err error) {
	type outcome struct {
		next *Next
		err  error
	}
	var reloading chan outcome // nil: no reload is going on
	again := false             // another one was asked for meanwhile
	rctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	begin := func() {
		done := make(chan outcome, 1)
		reloading = done
		_ = systemd.Reloading()
		go func() {
			next, err := l.Replace(rctx)
			done <- outcome{next, err}
		}()
	}
	_ = systemd.Ready(os.Getpid())
	l.began()
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case err := <-l.Failed:
			return nil, err
		case sig := <-l.Signals:
			switch {
			case sig == unix.SIGHUP && l.NoReload != "":
				l.Log(fmt.Sprintf("WARN: %sSIGHUP has no effect %s", l.Prefix, l.NoReload))
				continue
			case sig == unix.SIGHUP && reloading == nil:
				begin()
				continue
			case sig == unix.SIGHUP:
				again = true
				continue
			}
			_ = systemd.Notify("STOPPING=1")
			l.signalled(sig)
			l.Ending()
			giveUp()
			if reloading == nil {
				return nil, nil
			}
			select {
			case r := <-reloading:
				if r.err == nil { // too late for that: the service is the new process by now
					l.passedOn(r.next)
					_ = r.next.Signal(unix.SIGTERM)
				}
			case <-time.After(giveUpTime):
			}
			return nil, nil
		case r := <-reloading:
			reloading = nil
			if r.err == nil {
				// systemd has to know before this process ends: else it takes the service for ended, and stops
				// the new process.
				_ = systemd.Ready(r.next.Pid)
				l.passedOn(r.next)
				if again { // the settings may have changed after the new process read them
					_ = r.next.Signal(unix.SIGHUP)
				}
				return r.next, nil
			}
			l.ReloadFailed.Store(true)
			l.Log(fmt.Sprintf("ERR: %sreload failed, this process goes on with its settings: %v",
				l.Prefix, r.err))
			_ = systemd.Notify("READY=1")
			if again {
				again = false
				begin()
			}
		}
	}
}

// began says that the service is there.
func (l *Loop) began() {
	before := ""
	if l.TakenOver != nil {
		before = fmt.Sprintf("%d sessions taken over by process %d: ", *l.TakenOver, os.Getpid())
	}
	l.Log(fmt.Sprintf("INFO: %s%sversion %s listens at %s", l.Prefix, before, version.Version,
		strings.Join(l.Addresses, ", ")))
}

// signalled says that a signal ends the service.
func (l *Loop) signalled(sig os.Signal) {
	name := sig.String()
	if s, ok := sig.(syscall.Signal); ok {
		name = unix.SignalName(s)
	}
	l.ends(name)
}

// ends says why the process ends, and with how many sessions.
func (l *Loop) ends(why string) {
	l.Log(fmt.Sprintf("INFO: %s%s: ending with %d sessions", l.Prefix, why, l.Sessions()))
}

func (l *Loop) passedOn(n *Next) {
	l.Log(fmt.Sprintf("INFO: %s%d sessions passed on to process %d", l.Prefix, n.Sessions, n.Pid))
}

// forward returns a context that a signal ends, until stop is called; SIGHUP is for next.
func (l *Loop) forward(ctx context.Context, next *Next) (_ context.Context, stop context.CancelFunc) {
	ctx, stop = context.WithCancel(ctx)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case sig := <-l.Signals:
				if sig == unix.SIGHUP {
					_ = next.Signal(sig)
				} else {
					l.signalled(sig)
					stop()
				}
			}
		}
	}()
	return ctx, stop
}
