package ldap

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience is what nothing in these tests takes.
const patience = 30 * time.Second

var question = &query{base: "b", filter: "(mail=a)"}

// askAll searches n times at once and returns what came of it.
func askAll(d *directory, n int) <-chan error {
	done := make(chan error, n)
	for range n {
		go func() {
			e, err := d.entry(context.Background(), question)
			if err == nil && (e == nil || e.DN != "mail=a") {
				err = errors.New("another's answer, or none")
			}
			done <- err
		}()
	}
	return done
}

// TestShared: as many searches as a connection is shared by are under way on it at once, and each gets its
// own answer in whatever order they come.
func TestShared(t *testing.T) {
	d := server(t, 1, func(c net.Conn) {
		var ids []int64
		for len(ids) < sharing {
			id := request(c)
			if id == 0 {
				return
			}
			ids = append(ids, id)
		}
		for i := range ids {
			_, _ = c.Write(reply(ids[len(ids)-1-i], 0, "a"))
		}
		_, _ = io.Copy(io.Discard, c)
	})
	d.timeout = patience
	done := askAll(d, sharing)
	for range sharing {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestSilentServer: a server that answers nothing costs each request its time limit, and no connection more
// than there may be.
func TestSilentServer(t *testing.T) {
	d := server(t, 2, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	var mu sync.Mutex
	var made []*conn
	dial := d.searches.dial
	d.searches.dial = func(ctx context.Context) (*conn, error) {
		mu.Lock()
		defer mu.Unlock()
		made = slices.DeleteFunc(made, func(c *conn) bool { return c.ldap.IsClosing() })
		if len(made) >= 2 {
			t.Errorf("a third connection")
		}
		c, err := dial(ctx)
		if err == nil {
			made = append(made, c)
		}
		return c, err
	}
	start := time.Now()
	done := askAll(d, 2*sharing)
	for range cap(done) {
		if err := <-done; err == nil {
			t.Error("an answer of a silent server")
		}
	}
	if took := time.Since(start); took < d.timeout || took > patience {
		t.Errorf("it took %v", took)
	}
}

// TestNeighbour: a search whose time is over ends the connection. Those that share it are repeated on
// another.
func TestNeighbour(t *testing.T) {
	var connected atomic.Int64
	d := server(t, 1, func(c net.Conn) {
		first := connected.Add(1) == 1
		for n := 0; ; n++ {
			id := request(c)
			if id == 0 {
				return
			}
			if n == 0 || !first { // the first connection answers its first search only
				_, _ = c.Write(reply(id, 0, "a"))
			}
		}
	})
	d.timeout = patience
	if err := <-askAll(d, 1); err != nil {
		t.Fatal(err)
	}
	done := askAll(d, sharing-1)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if _, err := d.entry(ctx, question); err == nil {
		t.Error("an answer where there is none")
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestConnectOnce: requests that wait while a server cannot be reached fail with the one that tries.
func TestConnectOnce(t *testing.T) {
	var tried atomic.Int64
	dead := errors.New("dead")
	var p *connections
	p = newConnections(1, sharing, func(ctx context.Context) (*conn, error) {
		for first := tried.Add(1) == 1; first && len(p.free) > 0 && ctx.Err() == nil; {
			runtime.Gosched() // until all wait
		}
		return nil, dead
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, sharing)
	for range sharing {
		go func() { done <- p.do(ctx, func(*conn) error { return nil }) }()
	}
	for range sharing {
		if err := <-done; !errors.Is(err, dead) {
			t.Error(err)
		}
	}
	if n := tried.Load(); n != 1 {
		t.Errorf("connected %d times", n)
	}
	// The next request tries again.
	if err := p.do(ctx, nil); !errors.Is(err, dead) || tried.Load() != 2 {
		t.Error(err, tried.Load())
	}
}
