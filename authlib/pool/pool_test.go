package pool

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"
)

type conn struct {
	server int // the server's life that it belongs to
	closed chan struct{}
	once   sync.Once
}

func (c *conn) Close() { c.once.Do(func() { close(c.closed) }) }

// server is a database that can be down or restarted.
type server struct {
	mu    sync.Mutex
	life  int
	down  bool
	dials int
	open  []*conn
}

func (s *server) dial(context.Context) (*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errors.New("refused")
	}
	s.dials++
	c := &conn{server: s.life, closed: make(chan struct{})}
	s.open = append(s.open, c)
	return c, nil
}

func (s *server) query(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.server != s.life || s.down {
		return Dead(errors.New("reset"))
	}
	return nil
}

func TestRestart(t *testing.T) {
	s := &server{}
	p := New(3, s.dial)
	ctx := context.Background()
	hold := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 { // three connections at once
		wg.Go(func() {
			if err := p.Do(ctx, func(c *conn) error { <-hold; return s.query(c) }); err != nil {
				t.Error(err)
			}
		})
	}
	for p.Len() < 3 {
		time.Sleep(time.Millisecond)
	}
	// A fourth request waits no longer than its context.
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if err := p.Do(short, s.query); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with all connections busy: %v", err)
	}
	close(hold)
	wg.Wait()

	s.life++ // restarted: the first request works, over one fresh connection, and the other dead ones are gone
	if err := p.Do(ctx, s.query); err != nil {
		t.Errorf("first request after a restart: %v", err)
	}
	if s.dials != 4 || p.Len() != 1 {
		t.Errorf("%d dials, %d connections; want 4, 1", s.dials, p.Len())
	}

	s.down = true
	for range 5 {
		if err := p.Do(ctx, s.query); func() bool { dead, _ := isDead(err); return !dead }() {
			t.Errorf("while down: %v", err)
		}
	}
	s.down = false
	for range 5 {
		if err := p.Do(ctx, s.query); err != nil {
			t.Errorf("after the outage: %v", err)
		}
	}
	// An error of the query itself keeps the connection and is no outage.
	dials := s.dials
	if err := p.Do(ctx, func(*conn) error { return errors.New("syntax error") }); err == nil {
		t.Error("the query's error is lost")
	}
	if err := p.Do(ctx, s.query); err != nil || s.dials != dials {
		t.Errorf("after a query error: %v, %d dials; want %d", err, s.dials, dials)
	}
	// Half an answer is neither repeated nor kept.
	uses := 0
	if err := p.Do(ctx, func(*conn) error { uses++; return Final(errors.New("reset")) }); err == nil || uses != 1 || p.Len() != 0 {
		t.Errorf("after half an answer: %v, %d uses, %d connections", err, uses, p.Len())
	}
	if err := p.Do(ctx, s.query); err != nil {
		t.Error(err)
	}
	p.Close()
	for _, c := range s.open {
		select {
		case <-c.closed:
		default:
			t.Error("a connection was left open")
		}
	}
	if err := p.Do(ctx, s.query); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestCloseEndsRequests(t *testing.T) {
	s := &server{}
	p := New(1, s.dial)
	done := make(chan error)
	started := make(chan struct{})
	go func() {
		done <- p.Do(context.Background(), func(c *conn) error {
			close(started)
			<-c.closed
			return Dead(os.ErrClosed)
		})
	}()
	<-started
	p.Close()
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("request under way: %v", err)
	}
}

func TestRetireLetsRequestsEnd(t *testing.T) {
	s := &server{}
	p := New(1, s.dial)
	err := p.Do(context.Background(), func(c *conn) error {
		p.Retire()
		return s.query(c)
	})
	if err != nil || p.Len() != 0 {
		t.Errorf("%v, %d connections left", err, p.Len())
	}
}

func TestDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if d := time.Until(Deadline(ctx, time.Minute)); d > time.Minute {
		t.Errorf("deadline in %v, want a minute", d)
	}
	if d := time.Until(Deadline(ctx, 2*time.Hour)); d > time.Hour {
		t.Errorf("deadline in %v, want the context's hour", d)
	}
}
