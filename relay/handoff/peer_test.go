package handoff_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"mailproxy/internal/successor"
	"mailproxy/relay"
	"mailproxy/relay/engine"
	"mailproxy/relay/handoff"
	"mailproxy/tests/relaytest"
)

// follower is a process that has taken over: it takes what comes on one connection.
func follower(t *testing.T, answer func(c *net.UnixConn, m *handoff.Message, fds []int) error) *handoff.Peer {
	t.Helper()
	ours, theirs, err := successor.Pair()
	if err != nil {
		t.Fatal(err)
	}
	p := handoff.NewPeer(ours)
	var running sync.WaitGroup
	t.Cleanup(func() { ours.Close(); running.Wait() })
	running.Go(func() {
		defer theirs.Close()
		for {
			m, fds, err := handoff.Receive(theirs)
			if err != nil || answer(theirs, m, fds) != nil {
				handoff.CloseAll(fds)
				return
			}
		}
	})
	return p
}

func newEngine(t *testing.T, c engine.Config) *engine.Engine {
	t.Helper()
	e, err := engine.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Shutdown(context.Background()) })
	return e
}

func take(e *engine.Engine) func(c *net.UnixConn, m *handoff.Message, fds []int) error {
	return func(c *net.UnixConn, m *handoff.Message, fds []int) error {
		_, err := e.TakeMessage(c, m, fds)
		if err != nil {
			return handoff.Refuse(c, err)
		}
		return nil
	}
}

// TestPeer: sessions of many goroutines at a time go to the engine at the other end, whose limits count.
func TestPeer(t *testing.T) {
	const sessions = 20
	e := newEngine(t, engine.Config{Limits: engine.Limits{Sessions: sessions}})
	p := follower(t, take(e))
	kinds := append(relaytest.TLSKinds()[:1], relaytest.Kinds()[0])
	var all sync.WaitGroup
	var mu sync.Mutex
	limits := 0
	for i := range sessions + 1 {
		client, farClient := kinds[i%len(kinds)].Make(t)
		mailhost, farMailhost := relaytest.TCP(t, 0)
		all.Go(func() {
			err := p.Carry(t.Context(), &relay.Session{Client: client, Mailhost: mailhost, First: []byte("OK\r\n")})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, relay.ErrLimit):
				limits++
				return
			case err != nil:
				t.Error(err)
				return
			}
			buf := make([]byte, 4)
			if _, err := farClient.Read(buf); err != nil || string(buf) != "OK\r\n" {
				t.Errorf("%q, %v", buf, err)
			}
			if _, err := farClient.Write([]byte("NOOP")); err != nil {
				t.Error(err)
			}
			if _, err := farMailhost.Read(buf); err != nil || string(buf) != "NOOP" {
				t.Errorf("%q, %v", buf, err)
			}
		})
	}
	all.Wait()
	if limits != 1 || e.Totals().Counted != sessions {
		t.Errorf("%d sessions refused, %d taken", limits, e.Totals().Counted)
	}
}

// TestPeerGone: who does not answer as it should is asked once. The session stays the caller's, and can go on
// in another carrier.
func TestPeerGone(t *testing.T) {
	for name, answer := range map[string]func(c *net.UnixConn, m *handoff.Message, fds []int) error{
		"it hangs up": func(_ *net.UnixConn, _ *handoff.Message, fds []int) error {
			handoff.CloseAll(fds)
			return errors.New("gone")
		},
		"it is no message": func(c *net.UnixConn, _ *handoff.Message, fds []int) error {
			handoff.CloseAll(fds)
			_, err := c.Write([]byte("nonsense"))
			return err
		},
		"it has no room": func(c *net.UnixConn, _ *handoff.Message, fds []int) error {
			handoff.CloseAll(fds)
			return handoff.Answer(c, handoff.Full, "no free descriptors")
		},
		"it is silent": func(_ *net.UnixConn, _ *handoff.Message, fds []int) error {
			handoff.CloseAll(fds)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := follower(t, answer)
			here := newEngine(t, engine.Config{})
			client, farClient := relaytest.TLSKinds()[0].Make(t)
			mailhost, farMailhost := relaytest.TCP(t, 0)
			s := &relay.Session{Client: client, Mailhost: mailhost}
			for range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				err := p.Carry(ctx, s)
				cancel()
				if !errors.Is(err, relay.ErrUnavailable) {
					t.Fatal(err)
				}
			}
			if err := here.Carry(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if _, err := farMailhost.Write([]byte("* OK")); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 4)
			if _, err := farClient.Read(buf); err != nil || string(buf) != "* OK" {
				t.Errorf("%q, %v", buf, err)
			}
		})
	}
}
