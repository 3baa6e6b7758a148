// Package engine is the event loops that move the bytes of sessions: the only code that does. An Engine is
// a relay.Carrier in this process, for one session or for thousands: in a front end that serves one
// connection, in one that serves all, and in relayd.
//
// It keeps to these rules. The end of the client's direction is passed on while the mailhost's goes on; the
// mailhost's end is the session's end, after everything has been delivered to the client. After one side has
// ended a session has a time limit. If one side breaks off (TLS without close_notify, a bad record), the
// other is not sent an orderly end either: no close_notify, or a reset where it has no TLS. A panic ends one
// session. An idle session holds no buffer: ten thousand cost a few megabytes.
//
// It serves sockets, and TLS that package tlsrecord can carry on. Package pump has it serve any other
// connection.
//
// It deliberately lacks any knowledge of IMAP and POP3: bytes go through unread, unchanged and in order.
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/relay"
	"mailproxy/relay/handoff"
)

// Config is what an Engine is made of.
type Config struct {
	Loops int // goroutines that serve; 0 = 1
	// Shared says that other goroutines of the process have work that must not wait for the loops, such as
	// logins. Without it an event reaches its loop by two system calls fewer.
	Shared bool
	Limits Limits
	// Log writes one line, without a line end, and must not wait for anybody; nil: no log. It gets the
	// LOGOUT lines of sessions that have a protocol, and faults.
	Log func(line string)
	// Ended, if not nil, is told of every session that has ended, and why; nil is an orderly end. It must
	// not wait either.
	Ended func(relay.Info, relay.Stats, error)
}

// Engine carries sessions. Its methods may be called by any goroutine.
type Engine struct {
	conf    Config
	loops   []*loop
	next    atomic.Uint32 // the loop that gets the next session
	counts  counts
	history history
	closed  sync.Once
}

// New starts an Engine, which Shutdown ends.
func New(c Config) (*Engine, error) {
	if c.Log == nil {
		c.Log = func(string) {}
	}
	e := &Engine{conf: c}
	e.counts.limits = c.Limits
	e.counts.none = sync.NewCond(&e.counts.mu)
	for range max(c.Loops, 1) {
		l, err := newLoop(c.Shared, e.over, c.Log)
		if err != nil {
			e.stopLoops()
			return nil, err
		}
		e.loops = append(e.loops, l)
		go l.run()
	}
	return e, nil
}

// over accounts for a session of a loop that has ended.
func (e *Engine) over(s *session, err error) { e.account(s.info(), s.stats(time.Now()), err) }

func (e *Engine) account(i relay.Info, st relay.Stats, err error) {
	if i.Protocol != "" {
		e.conf.Log(relay.EndLine(i, st))
	}
	if e.conf.Ended != nil {
		e.conf.Ended(i, st, err)
	}
	e.history.end(st, err)
	e.counts.release(i)
}

// Carry is part of relay.Carrier.
func (e *Engine) Carry(_ context.Context, s *relay.Session) error {
	h, raw, err := handoff.Describe(s)
	if err != nil {
		return fmt.Errorf("%w: %w", relay.ErrUnavailable, err)
	}
	var fds [2]int
	for n, r := range raw {
		if fds[n], err = duplicate(r); err != nil {
			closeAll(fds[:n]...)
			return fmt.Errorf("%w: %w", relay.ErrUnavailable, err)
		}
	}
	acknowledge := func() error {
		if s.Accepted != nil {
			s.Accepted()
		}
		return nil
	}
	if err := e.take(h, fds, acknowledge); err != nil {
		closeAll(fds[:]...)
		return err
	}
	handoff.Release(s)
	return nil
}

// duplicate returns a file descriptor of our own, of which the runtime's poller knows nothing.
func duplicate(r syscall.RawConn) (fd int, err error) {
	cerr := r.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) })
	return fd, errors.Join(cerr, err)
}

// takeSockets is Carry for a session whose two sockets are file descriptors, which are the Engine's when it
// returns nil. acknowledge, if not nil, is called after all checks and before the first read or write; if it
// fails, the Engine does not take the session.
func (e *Engine) takeSockets(h *handoff.Session, fds [2]int, acknowledge func() error) error {
	for _, fd := range fds {
		if !handoff.IsStream(fd) {
			return fmt.Errorf("%w: not a stream socket", relay.ErrUnavailable)
		}
		if err := unix.SetNonblock(fd, true); err != nil {
			return fmt.Errorf("%w: %w", relay.ErrUnavailable, err)
		}
	}
	return e.take(h, fds, acknowledge)
}

// take is takeSockets for non-blocking stream sockets.
func (e *Engine) take(h *handoff.Session, fds [2]int, acknowledge func() error) error {
	if err := e.counts.acquire(h.Info); err != nil {
		return err
	}
	s := newSession(h, fds)
	if acknowledge != nil {
		if err := acknowledge(); err != nil {
			e.counts.release(h.Info)
			return err
		}
	}
	for _, fd := range fds {
		tune(fd, h.KeepAlive)
	}
	s.queueInitial(h)
	e.history.taken.Add(1)
	e.start(s)
	return nil
}

// start gives a session that is counted to a loop.
func (e *Engine) start(s *session) {
	l := e.loops[int(e.next.Add(1))%len(e.loops)]
	if !l.post(func() { l.add(s) }) {
		s.close(l.buffers)
		e.over(s, relay.ErrStopped)
	}
}

// Wait returns when there is no session, or with the error of ctx.
func (e *Engine) Wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		e.counts.mu.Lock()
		defer e.counts.mu.Unlock()
		e.counts.none.Broadcast()
	})
	defer stop()
	e.counts.mu.Lock()
	defer e.counts.mu.Unlock()
	for e.counts.all > 0 && ctx.Err() == nil {
		e.counts.none.Wait()
	}
	if e.counts.all == 0 {
		return nil
	}
	return ctx.Err()
}

// Shutdown ends all sessions: nothing is added to their streams, what they hold is delivered, at most for a
// second and not beyond the end of ctx, both connections of each are closed, and the Engine's loops end.
// Nothing can be carried afterwards.
func (e *Engine) Shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*stopTime)
	defer cancel()
	for _, l := range e.loops {
		l.post(func() {
			for _, s := range l.slots {
				if s != nil && !s.frozen {
					l.guard(s, func() { l.stop(s); l.advance(s) })
				}
			}
		})
	}
	_ = e.Wait(ctx)
	e.stopLoops()
}

func (e *Engine) stopLoops() {
	e.closed.Do(func() {
		for _, l := range e.loops {
			l.post(func() { l.stopped = true })
		}
		late := time.After(stopTime)
		for _, l := range e.loops {
			select {
			case <-l.finished:
			case <-late: // the program ends all the same
				return
			}
		}
	})
}
