package harness

import (
	"net"
	"sync"
	"testing"
	"time"

	"mailproxy/tests/transcript"
)

// FakeMailhost is a mailhost that misbehaves as told. It is for faults only: whatever a real server does
// is tested with one.
type FakeMailhost struct {
	Addr string // "ip:port"

	mu    sync.Mutex
	count int
	errs  []error
}

// NewFakeMailhost listens on addr ("ip:port") and calls serve for each connection, which is closed
// afterwards. An error that serve returns is shown when the test fails; Errors returns it to tests for
// which it matters.
func NewFakeMailhost(t testing.TB, addr string, serve func(net.Conn) error) *FakeMailhost {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	f := &FakeMailhost{Addr: l.Addr().String()}
	var sessions sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		sessions.Wait()
		for _, err := range f.Errors() {
			if t.Failed() {
				t.Logf("--- fake mailhost %s: %v", addr, err)
			}
		}
	})
	sessions.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.count++
			f.mu.Unlock()
			sessions.Go(func() {
				defer conn.Close()
				if err := serve(conn); err != nil {
					f.mu.Lock()
					f.errs = append(f.errs, err)
					f.mu.Unlock()
				}
			})
		}
	})
	return f
}

// Connections returns how many connections there were.
func (f *FakeMailhost) Connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// Errors returns what went wrong in the sessions so far.
func (f *FakeMailhost) Errors() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]error(nil), f.errs...)
}

// Scripted serves each connection by playing the server's side of a dialogue (see package transcript). The
// script's end closes the connection.
func Scripted(t testing.TB, dribble time.Duration, text string) func(net.Conn) error {
	t.Helper()
	scripts := transcript.MustParse(t, text)
	return func(conn net.Conn) error {
		r := &transcript.Runner{Conn: conn, As: transcript.Server, Dribble: dribble}
		for _, s := range scripts {
			if err := r.Play(s); err != nil {
				return err
			}
		}
		return nil
	}
}
