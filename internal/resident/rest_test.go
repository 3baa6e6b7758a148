package resident

import (
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailproxy/internal/launch"
	"mailproxy/internal/maillog"
	"mailproxy/relay/engine"
	"mailproxy/relay/handoff"
)

// deaf is a listener that nothing wakes up but its end.
type deaf struct {
	net.Listener
	end chan struct{}
}

func (d *deaf) Accept() (net.Conn, error) {
	<-d.end
	return nil, net.ErrClosed
}

// handOver calls f, which stands for handing the sessions over to next.
func handOver(c *carrier, next *handoff.Peer, f func() error) error {
	err := c.close(restTime)
	if err == nil {
		err = f()
	}
	if err != nil {
		c.reopen(nil)
		return err
	}
	c.reopen(next)
	return nil
}

// TestAtRest: a part of the service that does not come to rest does not keep a reload for ever: its name is
// in the error, and it can go on afterwards.
func TestAtRest(t *testing.T) {
	late := func(t *testing.T, what string, stop func() error) {
		t.Helper()
		began := time.Now()
		err := stop()
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want an error about %q", err, what)
		}
		if took := time.Since(began); took != restTime {
			t.Errorf("it took %v", took)
		}
	}
	log := maillog.NewLog(&record{})
	t.Run("accepting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := &deaf{end: make(chan struct{})}
			sockets := &launch.Sockets{Listeners: []*launch.Listener{{Listener: l}}}
			a := newAcceptor(log, sockets, newConnections())
			a.start()
			late(t, "accepting connections", a.stop)
			a.start()
			late(t, "accepting connections", a.stop)
			close(l.end)
			a.start()
			if err := a.stop(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("a session", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, next := newCarrier(nil), new(handoff.Peer)
			c.acquire() // a session is being taken, for ever
			move := func() error { return handOver(c, next, func() error { return nil }) }
			late(t, "taking a session", move)
			began := time.Now()
			if at := c.acquire(); at != nil || time.Since(began) != 0 {
				t.Errorf("another session waited for %v and went to %v", time.Since(began), at)
			}
			c.release()
			late(t, "taking a session", move)
			c.release()
			if err := move(); err != nil {
				t.Error(err)
			}
			if at := c.acquire(); at != next {
				t.Error("a session goes to", at)
			}
		})
	})
	t.Run("sessions wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, next := newCarrier(nil), new(handoff.Peer)
			at := make(chan *handoff.Peer, 1)
			fault := errors.New("a fault")
			for _, err := range []error{fault, nil} {
				if got := handOver(c, next, func() error {
					go func() { defer c.release(); at <- c.acquire() }()
					synctest.Wait()
					if len(at) > 0 {
						t.Error("a session that is neither here nor there")
					}
					return err
				}); got != err {
					t.Error(got)
				}
				if got := <-at; (got == next) != (err == nil) {
					t.Errorf("after %v it goes to %p", err, got)
				}
			}
		})
	})
	t.Run("an administrator", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := &administration{ended: make(chan struct{}), cancel: func() {}}
			late(t, "an administrator", a.stop)
			close(a.ended)
		})
	})
	t.Run("an older process", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPredecessors(log, new(engine.Engine))
			p.resume()
			p.running.Add(1)
			late(t, "an older process", p.pause)
			p.running.Done()
			p.resume()
			if err := p.pause(); err != nil {
				t.Error(err)
			}
		})
	})
}
