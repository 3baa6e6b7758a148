package metrics

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// failing is a listener whose next accepts fail.
type failing struct {
	net.Listener
	left atomic.Int64
	err  error
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: f.err}
	}
	return f.Listener.Accept()
}

// served is a listener with the numbers on it.
type served struct {
	addr  string
	stop  context.CancelFunc
	done  chan struct{}
	mu    sync.Mutex
	lines []string
}

func (s *served) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func serve(t *testing.T, wrap func(net.Listener) net.Listener, write func(io.Writer)) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &served{addr: l.Addr().String(), stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		Serve(ctx, wrap(l), write, func(line string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.lines = append(s.lines, line)
		})
	}()
	t.Cleanup(func() { cancel(); <-s.done })
	return s
}

func (s *served) get(t *testing.T, method string) string {
	t.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := http.NewRequest(method, "http://"+s.addr+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return fmt.Sprintf("%d %s %s%v", answer.StatusCode, answer.Header.Get("Content-Type"), body, err)
}

func one(w io.Writer) { _, _ = io.WriteString(w, "a 1\n") }

func asIs(l net.Listener) net.Listener { return l }

func TestServe(t *testing.T) {
	s := serve(t, asIs, one)
	for range 3 * maxScrapes {
		if got := s.get(t, "GET"); got != "200 text/plain; version=0.0.4 a 1\n<nil>" {
			t.Errorf("GET: %s", got)
		}
	}
	if got := s.get(t, "POST"); !strings.HasPrefix(got, "405 ") {
		t.Errorf("POST: %s", got)
	}
	s.stop()
	<-s.done
	if c, err := net.Dial("tcp", s.addr); err == nil {
		c.Close()
		t.Error("it still listens")
	}
	if s.text() != "" {
		t.Errorf("log: %s", s.text())
	}
}

// A service that passes its socket on closes the listener: that is no error.
func TestListenerClosed(t *testing.T) {
	made := make(chan net.Listener, 1)
	s := serve(t, func(l net.Listener) net.Listener { made <- l; return l }, one)
	s.get(t, http.MethodGet)
	(<-made).Close()
	select {
	case <-s.done:
	case <-time.After(30 * time.Second):
		t.Fatal("still serving")
	}
	if s.text() != "" {
		t.Errorf("log: %s", s.text())
	}
}

// TestAcceptErrors: a time without file descriptors is one line, and no end.
func TestAcceptErrors(t *testing.T) {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS,
		syscall.ECONNABORTED} {
		s := serve(t, func(l net.Listener) net.Listener {
			f := &failing{Listener: l, err: errno}
			f.left.Store(3)
			return f
		}, one)
		if got := s.get(t, "GET"); !strings.HasPrefix(got, "200 ") {
			t.Errorf("%v: %s", errno, got)
		}
		if got := s.text(); got != "ERR: metrics: accept tcp: "+errno.Error() {
			t.Errorf("%v: log %q", errno, got)
		}
	}
}

// TestManyScrapers: silent clients take no more connections than there may be, and are in nobody's way for
// long.
func TestManyScrapers(t *testing.T) {
	s := serve(t, asIs, one)
	for range maxScrapes {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if got := s.get(t, "GET"); !strings.HasPrefix(got, "200 ") {
		t.Errorf("behind %d silent clients: %s", maxScrapes, got)
	}
}

// TestPanic: what counts may have a fault; the next scrape is served.
func TestPanic(t *testing.T) {
	var calls atomic.Int64
	s := serve(t, asIs, func(w io.Writer) {
		if calls.Add(1) == 1 {
			panic("of a test")
		}
		one(w)
	})
	s.get(t, "GET")
	if got := s.get(t, "GET"); !strings.HasPrefix(got, "200 ") {
		t.Errorf("after a panic: %s", got)
	}
	if got := s.text(); !strings.Contains(got, "of a test") || !strings.Contains(got, "serve_test.go") ||
		strings.Contains(got, "\n") {
		t.Errorf("log: %s", got)
	}
}
