package handoff_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailproxy/relay"
	"mailproxy/relay/handoff"
	"mailproxy/tests/relaytest"
	"mailproxy/tests/testlog"
)

// peer is a relayd that takes what it is given and closes it.
type peer struct {
	t      testing.TB
	socket string
	// before is called for each message before it is answered; false: the connection is closed in place of
	// an answer.
	before atomic.Pointer[func(message int) bool]

	mu       sync.Mutex
	conns    map[*net.UnixConn]bool
	accepted int
	messages atomic.Int32
}

func newPeer(t testing.TB) *peer {
	t.Helper()
	p := &peer{t: t, socket: filepath.Join(t.TempDir(), "relayd"), conns: map[*net.UnixConn]bool{}}
	p.do(takes)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: p.socket})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); p.hangUp(); running.Wait() })
	running.Go(func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns[c] = true
			p.accepted++
			p.mu.Unlock()
			running.Go(func() { p.serve(c) })
		}
	})
	return p
}

func (p *peer) do(before func(message int) bool) { p.before.Store(&before) }

func takes(int) bool { return true }

func (p *peer) serve(c *net.UnixConn) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		c.Close()
		delete(p.conns, c)
	}()
	for {
		m, fds, err := handoff.Receive(c)
		handoff.CloseAll(fds)
		if err != nil || m.Verb != "CARRY" || len(fds) != 2 || !(*p.before.Load())(int(p.messages.Add(1))) {
			return
		}
		if handoff.Send(c, &handoff.Message{Verb: "OK"}) != nil {
			return
		}
	}
}

// hangUp closes all connections, as a relayd does that is replaced.
func (p *peer) hangUp() {
	p.mu.Lock()
	for c := range p.conns {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
	p.mu.Unlock()
	p.until("no connection", func() bool { _, open := p.count(); return open == 0 })
}

// count is how many connections there have been, and how many are open.
func (p *peer) count() (accepted, open int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted, len(p.conns)
}

func (p *peer) until(what string, ok func() bool) {
	p.t.Helper()
	if !testlog.Eventually(ok) {
		accepted, open := p.count()
		p.t.Fatalf("waited in vain: %s; %d connections accepted, %d open", what, accepted, open)
	}
}

func carryOne(ctx context.Context, t testing.TB, c *handoff.Client) error {
	t.Helper()
	client, _ := relaytest.TCP(t, 0)
	mailhost, _ := relaytest.TCP(t, 0)
	return c.Carry(ctx, &relay.Session{Client: client, Mailhost: mailhost, Info: relay.Info{User: "ann"}})
}

// carryTogether hands n sessions over at the same time, each on a connection of its own.
func (p *peer) carryTogether(n int, c *handoff.Client) {
	p.t.Helper()
	var here sync.WaitGroup
	here.Add(n)
	p.do(func(int) bool { here.Done(); here.Wait(); return true })
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if err := carryOne(p.t.Context(), p.t, c); err != nil {
				p.t.Error(err)
			}
		})
	}
	all.Wait()
	p.do(takes)
}

// TestKeep: one session after the other needs one connection; no more are kept than was asked for, and none
// after Close.
func TestKeep(t *testing.T) {
	for _, tc := range []struct{ keep, connections int }{{0, 10}, {1, 1}, {4, 1}} {
		p := newPeer(t)
		c := &handoff.Client{Socket: p.socket, Keep: tc.keep}
		for range 10 {
			if err := carryOne(t.Context(), t, c); err != nil {
				t.Fatal(err)
			}
		}
		if accepted, _ := p.count(); accepted != tc.connections {
			t.Errorf("Keep %d: %d connections for 10 sessions", tc.keep, accepted)
		}
		p.carryTogether(8, c)
		p.until("the others are closed", func() bool { _, open := p.count(); return open == tc.keep })
		c.Close()
		p.until("all are closed", func() bool { _, open := p.count(); return open == 0 })
		if err := carryOne(t.Context(), t, c); err != nil {
			t.Fatal(err)
		}
		p.until("none is kept after Close", func() bool { _, open := p.count(); return open == 0 })
	}
}

// TestKeptHungUp: relayd hangs up on all connections that are kept, as when it is replaced, and once more
// while a session is under way on one of them. Neither costs a session.
func TestKeptHungUp(t *testing.T) {
	const keep = 4 // more than there are attempts with new connections
	p := newPeer(t)
	c := &handoff.Client{Socket: p.socket, Keep: keep}
	defer c.Close()
	p.carryTogether(keep, c)
	p.hangUp()
	for range 2 {
		if err := carryOne(t.Context(), t, c); err != nil {
			t.Fatal(err)
		}
	}
	if accepted, open := p.count(); accepted != keep+1 || open != 1 {
		t.Errorf("%d connections, %d open", accepted, open)
	}

	p.carryTogether(keep, c)
	next := int(p.messages.Load()) + 1
	p.do(func(message int) bool { return message >= next+keep }) // each kept one dies of a message
	if err := carryOne(t.Context(), t, c); err != nil {
		t.Fatal(err)
	}
	if _, open := p.count(); open != 1 {
		t.Errorf("%d open", open)
	}
	if got := int(p.messages.Load()); got != next+keep {
		t.Errorf("%d messages, %d expected: a dead connection was used again", got, next+keep)
	}
	if err := carryOne(t.Context(), t, c); err != nil {
		t.Fatal(err)
	}
}

// TestKeptNotAnswered: a connection on which an answer did not come in time is not used again, although the
// answer comes later; the session is the caller's.
func TestKeptNotAnswered(t *testing.T) {
	p := newPeer(t)
	c := &handoff.Client{Socket: p.socket, Keep: 1}
	defer c.Close()
	if err := carryOne(t.Context(), t, c); err != nil {
		t.Fatal(err)
	}
	late, given := make(chan struct{}), make(chan struct{})
	p.do(func(int) bool { close(given); <-late; return true })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-given; cancel() }()
	if err := carryOne(ctx, t, c); !errors.Is(err, relay.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	p.do(takes)
	close(late)
	if err := carryOne(t.Context(), t, c); err != nil {
		t.Fatal(err)
	}
	if accepted, _ := p.count(); accepted != 2 {
		t.Errorf("%d connections", accepted)
	}
}

// TestSilent: a relayd that does not answer in time lets one session wait, and not each of those that come in
// the seconds after it. When it answers again, it is asked again.
func TestSilent(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	wait := make(chan struct{})
	defer close(wait)
	p.do(func(int) bool { <-wait; return false })
	c := &handoff.Client{Socket: p.socket, Keep: 4}
	defer c.Close()
	carry := func(ctx context.Context) error {
		client, _ := relaytest.TCP(t, 0)
		mailhost, _ := relaytest.TCP(t, 0)
		return c.Carry(ctx, &relay.Session{Client: client, Mailhost: mailhost})
	}
	given, giveUp := context.WithCancel(t.Context())
	giveUp()
	if err := carry(given); !errors.Is(err, relay.ErrUnavailable) || !c.Available() {
		t.Errorf("a caller that gives up: %v, available %v", err, c.Available())
	}
	if err := carry(t.Context()); !errors.Is(err, relay.ErrUnavailable) || c.Available() {
		t.Errorf("no answer: %v, available %v", err, c.Available())
	}
	if !testlog.Eventually(c.Available) {
		t.Fatal("it is never asked again")
	}
	var others atomic.Bool
	p.do(func(int) bool { others.Store(c.Available()); return true })
	if err := carry(t.Context()); err != nil || !c.Available() {
		t.Errorf("it answers again: %v, available %v", err, c.Available())
	}
	if others.Load() {
		t.Error("others would have waited beside the one that tried it")
	}
}
