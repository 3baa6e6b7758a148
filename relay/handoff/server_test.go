package handoff_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"mailproxy/internal/peercred"
	"mailproxy/internal/successor"
	"mailproxy/relay/handoff"
	"mailproxy/tests/testlog"
)

// testServer is a server that answers every message with its verb.
type testServer struct {
	t *testing.T
	handoff.Server
	l      *net.UnixListener
	path   string
	denied atomic.Int64
}

func newTestServer(t *testing.T) *testServer {
	t.Helper()
	s := &testServer{t: t, path: filepath.Join(t.TempDir(), "socket")}
	s.Server = handoff.Server{
		Allow: peercred.Own(), Denied: func(error) { s.denied.Add(1) }, Most: 4, Silence: time.Hour,
		Handle: func(c *net.UnixConn, m *handoff.Message, fds []int) bool {
			handoff.CloseAll(fds)
			return handoff.Answer(c, m.Verb, "") == nil
		},
		Log: func(line string) { t.Error(line) },
	}
	var err error
	s.l, err = net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: s.path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.l.Close() })
	return s
}

// serve serves until stop is called.
func (s *testServer) serve() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, s.l) }()
	return func() {
		s.t.Helper()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				s.t.Error(err)
			}
		case <-time.After(testlog.Patience):
			s.t.Fatal("it does not stop")
		}
	}
}

func (s *testServer) dial() *net.UnixConn {
	s.t.Helper()
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: s.path})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(testlog.Patience))
	return c
}

// say sends a verb and returns what is the matter with the answer.
func say(c *net.UnixConn, verb string) error {
	if err := handoff.Send(c, &handoff.Message{Verb: verb}); err != nil {
		return err
	}
	m, _, err := handoff.Receive(c)
	if err == nil && m.Verb != verb {
		err = fmt.Errorf("%s is answered %s", verb, m.Verb)
	}
	return err
}

// TestServer: a server that is stopped hangs up on callers that say nothing, and leaves new ones in the
// queue; one that goes on answers them.
func TestServer(t *testing.T) {
	s := newTestServer(t)
	waiting := s.dial()
	for range 20 {
		stop := s.serve()
		if err := say(waiting, "A"); err != nil {
			t.Fatal(err)
		}
		var silent []*net.UnixConn
		for range s.Most - 1 {
			silent = append(silent, s.dial())
			if err := say(silent[len(silent)-1], "B"); err != nil {
				t.Fatal(err)
			}
		}
		next := s.dial() // for whom there is no room
		if err := handoff.Send(next, &handoff.Message{Verb: "A"}); err != nil {
			t.Fatal(err)
		}
		stop()
		for _, c := range append(silent, waiting) {
			if err := say(c, "C"); err == nil {
				t.Error("a server that is stopped answers")
			}
			c.Close()
		}
		waiting = next
		stop = s.serve()
		if m, _, err := handoff.Receive(waiting); err != nil || m.Verb != "A" {
			t.Fatal(m, err)
		}
		stop()
		waiting = s.dial()
	}
}

// TestStrangers: who may not call gets nothing.
func TestStrangers(t *testing.T) {
	s := newTestServer(t)
	s.Allow = &peercred.Set{}
	defer s.serve()()
	for i := range 3 {
		if err := say(s.dial(), "A"); err == nil {
			t.Error("an answer")
		}
		if !testlog.Eventually(func() bool { return s.denied.Load() == int64(i+1) }) {
			t.Error("nobody was told")
		}
	}
}

// TestServerEnds: a socket that is closed is the end, with callers that say nothing.
func TestServerEnds(t *testing.T) {
	s := newTestServer(t)
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background(), s.l) }()
	if err := say(s.dial(), "A"); err != nil {
		t.Fatal(err)
	}
	s.l.Close()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testlog.Patience):
		t.Error("it does not end")
	}
}

// TestConverse: a conversation that is interrupted leaves its connection and the messages on it to the next.
func TestConverse(t *testing.T) {
	ours, theirs, err := successor.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	_ = theirs.SetDeadline(time.Now().Add(testlog.Patience))
	for i := range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			handoff.Converse(ctx, ours, 0, func(c *net.UnixConn, m *handoff.Message, _ []int) bool {
				return handoff.Answer(c, m.Verb, "") == nil
			})
		}()
		for range i % 3 {
			if err := say(theirs, "A"); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		<-done
		if err := handoff.Send(theirs, &handoff.Message{Verb: "B"}); err != nil {
			t.Fatal(err)
		}
		_ = ours.SetDeadline(time.Now().Add(testlog.Patience))
		if m, _, err := handoff.Receive(ours); err != nil || m.Verb != "B" {
			t.Fatal(m, err)
		}
		_ = ours.SetDeadline(time.Unix(1, 0))
		if _, _, err := handoff.Receive(ours); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
}
