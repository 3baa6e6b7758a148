package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/connection"
	"mailproxy/internal/guard"
	"mailproxy/internal/successor"
	"mailproxy/relay"
	"mailproxy/relay/handoff"
)

// The conversation in which a process gives its sessions to the one that replaces it (old, new):
//
//	new: READY VERSION      its program works; the old one still serves
//	old: STATE VERSION      from here on the sessions stand still
//	old: MOVE, DATA, ...    each session
//	old: END
//	new: HELD               it holds all of them, and touches none
//	old: GO                 the old one does not touch them any more
//	new: SERVING            it serves them now; the old one lets go of its copies
//
// Before SERVING the new process has neither read nor written a byte of any session, so the old one can go on
// with all of them if anything fails. The last release sends neither STATE nor GO: it sends MOVE after READY,
// and expects OK after END.

const (
	readyTime   = 10 * time.Second // for the new process to be ready
	moveTime    = 60 * time.Second // for passing all sessions on
	servingTime = 10 * time.Second // from GO to SERVING
	freezeTime  = 5 * time.Second  // for a loop to begin to have its sessions stand still
)

var errLoopStuck = errors.New("an event loop does not answer")

// PassOn gives all sessions to the process at the other end of c, which was started to replace this one. They
// are served here until it is ready; then pause has everything else stand still that must not change
// meanwhile. When anything fails the process is ended, everything goes on here, and resume, which is never
// nil, ends the pause. The end of ctx is such a failure.
func (e *Engine) PassOn(ctx context.Context, process *os.Process, c *net.UnixConn,
	pause func() (resume func(), err error)) (*successor.Next, error) {
	kill := sync.OnceFunc(func() {
		_ = process.Kill()
		go func() { _, _ = process.Wait() }()
	})
	if err := awaitReady(ctx, c); err != nil {
		kill()
		return nil, fmt.Errorf("the new process is not ready: %w", err)
	}
	sessions := 0
	resume, err := pause()
	if err == nil {
		sessions, err = e.handOver(ctx, c, kill)
	}
	if err != nil {
		resume()
		kill()
		return nil, fmt.Errorf("the new process does not take over: %w", err)
	}
	return &successor.Next{Process: process, Sessions: sessions}, nil
}

// awaitReady waits until the process at the other end of c is ready to take sessions over. Sessions are
// served meanwhile.
func awaitReady(ctx context.Context, c *net.UnixConn) error {
	defer connection.Within(ctx, c, readyTime)()
	m, err := expect(c, "READY")
	if err != nil {
		return err
	}
	if v := m.Fields["VERSION"]; v != formatVersion {
		return fmt.Errorf("the new process reads version %q, this one writes %q", v, formatVersion)
	}
	return nil
}

// handOver gives all sessions to the process at the other end of c, which awaitReady has found ready, and
// returns how many there were. Those that only wait for an alert to be delivered stay. After an error every
// session goes on here where it was; kill has ended the other process then.
func (e *Engine) handOver(ctx context.Context, c *net.UnixConn, kill func()) (n int, err error) {
	end := connection.Within(ctx, c, moveTime)
	frozen, err := e.freeze(freezeTime)
	if err == nil {
		err = frozen.send(c)
	}
	if err == nil {
		_, err = expect(c, "HELD")
	}
	if err == nil {
		err = handoff.Send(c, &handoff.Message{Verb: "GO"})
	}
	end()
	if err == nil { // no signal interrupts this: the sessions are on their way
		_ = c.SetDeadline(time.Now().Add(servingTime))
		_, err = expect(c, "SERVING")
	}
	if err == nil {
		return frozen.release(), nil
	}
	kill()
	if awaitEnd(c) { // it was slow, not dead: it has touched them
		return frozen.release(), nil
	}
	frozen.resume()
	return 0, err
}

// awaitEnd waits until the process at the other end of c, which was killed, is gone, and reports whether it
// had said that it serves the sessions.
func awaitEnd(c *net.UnixConn) (served bool) {
	_ = c.SetDeadline(time.Now().Add(servingTime))
	for {
		m, fds, err := handoff.Receive(c)
		handoff.CloseAll(fds)
		if err != nil {
			return served
		}
		served = served || m.Verb == "SERVING"
	}
}

// TakeOver is the other side: it takes the sessions over and starts to serve them. n is how many there
// were. After an error none is touched, and the process is to end.
func (e *Engine) TakeOver(ctx context.Context, c *net.UnixConn) (n int, err error) {
	defer connection.Within(ctx, c, moveTime)()
	ready := &handoff.Message{Verb: "READY", Fields: map[string]string{"VERSION": formatVersion,
		"PID": strconv.Itoa(os.Getpid())}}
	if err := handoff.Send(c, ready); err != nil {
		return 0, err
	}
	all, err := e.receiveAll(c)
	if err != nil {
		for _, s := range all {
			closeAll(s.legs[client].fd, s.legs[mailhost].fd)
		}
		return 0, err
	}
	for _, s := range all {
		e.counts.adopt(s.info())
		e.history.taken.Add(1)
		e.start(s)
	}
	return len(all), nil
}

// receiveAll returns the sessions when they are ours to serve. With an error it returns those that were
// received before it.
func (e *Engine) receiveAll(c *net.UnixConn) (all []*session, err error) {
	m, fds, err := handoff.Receive(c)
	lastRelease := err == nil && m.Verb != "STATE"
	if err == nil && !lastRelease {
		handoff.CloseAll(fds)
		if v := m.Fields["VERSION"]; v != formatVersion {
			return nil, fmt.Errorf("the old process writes version %q, this one reads %q", v, formatVersion)
		}
		m, fds, err = handoff.Receive(c)
	}
	for ; err == nil && m.Verb == "MOVE"; m, fds, err = handoff.Receive(c) {
		s, err := receiveMoved(c, m, fds, time.Now())
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
	handoff.CloseAll(fds)
	switch {
	case err != nil:
		return all, err
	case m.Verb != handoff.End:
		return all, fmt.Errorf("the old process says %s instead of %s", m.Verb, handoff.End)
	case lastRelease:
		return all, handoff.Send(c, &handoff.Message{Verb: handoff.OK})
	}
	if err = handoff.Send(c, &handoff.Message{Verb: "HELD"}); err == nil {
		_, err = expect(c, "GO")
	}
	if err == nil {
		err = handoff.Send(c, &handoff.Message{Verb: "SERVING"})
	}
	return all, err
}

func expect(c *net.UnixConn, verb string) (*handoff.Message, error) {
	m, fds, err := handoff.Receive(c)
	handoff.CloseAll(fds)
	if err != nil {
		return nil, fmt.Errorf("waiting for %s: %w", verb, err)
	}
	if m.Verb != verb {
		return nil, fmt.Errorf("waiting for %s: %s %s", verb, m.Verb, m.Fields["REASON"])
	}
	return m, nil
}

// frozen are sessions that stand still.
type frozen struct {
	e      *Engine
	byLoop [][]*session
}

// freeze has all sessions that can be moved stand still. An error says that a loop has not begun with it
// within limit, and never will; those of other loops stand still.
func (e *Engine) freeze(limit time.Duration) (*frozen, error) {
	f := &frozen{e: e, byLoop: make([][]*session, len(e.loops))}
	for i, l := range e.loops {
		begun := l.callWithin(limit, func() {
			for _, s := range l.slots {
				if s != nil && s.movable() {
					l.guard(s, func() {
						if l.freeze(s) {
							f.byLoop[i] = append(f.byLoop[i], s)
						}
					})
				}
			}
		})
		if !begun {
			return f, errLoopStuck
		}
	}
	return f, nil
}

// callWithin is call for an f that must not be called late: false says that it was not called within limit.
func (l *loop) callWithin(limit time.Duration, f func()) bool {
	var settled atomic.Bool // either it is called, or it is too late for that
	done := make(chan struct{})
	l.post(func() {
		defer close(done)
		if settled.CompareAndSwap(false, true) {
			f()
		}
	})
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-late.C:
		if settled.CompareAndSwap(false, true) {
			return false
		}
	case <-done:
	case <-l.finished:
	}
	select {
	case <-done:
	case <-l.finished:
	}
	return true
}

// movable reports whether another process can go on with a session: not with one that is about to be reset
// or stopped, nor with one of which a direction has failed, which the other process would not know: it would
// tell of an orderly end.
func (s *session) movable() bool {
	if s.closing != nil {
		return !s.closing.reset && !errors.Is(s.closing.err, relay.ErrStopped)
	}
	return s.flows[client].err == nil && s.flows[mailhost].err == nil
}

// freeze has a session stand still, with nothing in a pipe.
func (l *loop) freeze(s *session) bool {
	l.unwatch(s)
	s.frozen = true
	for i := range s.flows {
		if err := s.flows[i].empty(l.buffers, &s.legs[1-i]); err != nil {
			s.frozen = false
			l.end(s, err)
			return false
		}
	}
	return true
}

// send sends all of them. A session that cannot even be described keeps nobody from being served here.
func (f *frozen) send(c *net.UnixConn) (err error) {
	defer guard.Recover(f.e.conf.Log, "a hand-over", func() { err = errPanic })
	state := &handoff.Message{Verb: "STATE", Fields: map[string]string{"VERSION": formatVersion}}
	if err := handoff.Send(c, state); err != nil {
		return err
	}
	for _, sessions := range f.byLoop {
		for _, s := range sessions {
			err := sendMoved(c, s, time.Now())
			for tries := 0; errors.Is(err, unix.ETOOMANYREFS) && tries < 1000; tries++ {
				// File descriptors under way are limited, and the other process is reading.
				time.Sleep(5 * time.Millisecond)
				err = sendMoved(c, s, time.Now())
			}
			if err != nil {
				return err
			}
		}
	}
	return handoff.Send(c, &handoff.Message{Verb: handoff.End})
}

// resume has the sessions go on where they were.
func (f *frozen) resume() {
	f.each(func(l *loop, s *session) {
		s.frozen = false
		l.guard(s, func() {
			s.moveFirst(l.buffers)
			l.advance(s)
		})
	})
}

// release lets go of the sessions, which another process serves, and returns how many there were.
func (f *frozen) release() (n int) {
	f.each(func(l *loop, s *session) {
		n++
		l.remove(s)
		s.close(l.buffers)
		f.e.counts.release(s.info())
	})
	return n
}

func (f *frozen) each(do func(*loop, *session)) {
	for i, l := range f.e.loops {
		if len(f.byLoop[i]) == 0 {
			continue
		}
		l.call(func() {
			for _, s := range f.byLoop[i] {
				if l.slots[s.slot] == s {
					do(l, s)
				}
			}
		})
	}
}
