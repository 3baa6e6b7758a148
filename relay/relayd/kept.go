package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"mailproxy/internal/tlsconf"
	"mailproxy/relay"
	"mailproxy/relay/internal/pump"
	"mailproxy/relay/internal/wire"
)

// kept is a connection that crypto/tls goes on with, because its cipher suite is one that package record does not have. It costs a
// goroutine and its buffers.
type kept struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	cut  func() // tells the session behind it that the stream was cut off
	torn bool   // it was
}

// keep has a goroutine copy between the connection and the pair until both directions are done.
func (s *service) keep(e *encryption, conn *tlsconf.Conn) error {
	far, err := netConn(e.far)
	if err != nil {
		conn.NetConn().Close()
		return err
	}
	pair, ok := far.(relay.Conn)
	if !ok {
		far.Close()
		conn.NetConn().Close()
		return fmt.Errorf("the pair is a %T", far)
	}
	wire.CloseAll([]int{e.tcp, e.far})
	ctx, cancel := context.WithCancel(context.Background())
	k := &kept{cancel: cancel, done: make(chan struct{})}
	e.kept = k
	s.counters.kept.Add(1)
	go func() {
		defer s.counters.kept.Add(-1)
		defer close(k.done)
		defer cancel()
		_, err := relay.Join(ctx, conn, pair, relay.Options{})
		if err != nil {
			conn.NetConn().Close() // without close_notify
			k.broken()
		}
		conn.Close()
		pair.Close()
	}()
	return nil
}

// end ends it after a while, unless it ends by itself.
func (k *kept) end(after time.Duration) {
	go func() {
		select {
		case <-k.done:
		case <-time.After(after):
			k.cancel()
		}
	}()
}

// goOn calls f when it has ended.
func (k *kept) goOn(f func()) {
	go func() { <-k.done; f() }()
}

// behind is called when leg of x is the other end of the pair.
func (k *kept) behind(l *loop, x *session, leg int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = func() {
		l.call(func() {
			if l.slots[x.slot] == x {
				x.flow[leg].Break(pump.ErrTruncated)
				l.serve(x, leg, 0)
			}
		})
	}
	if k.torn {
		k.cut()
	}
}

// broken has the end of the pair, which follows, taken for what it is: not the end that the peer has said.
func (k *kept) broken() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.torn = true; k.cut != nil {
		k.cut()
	}
}
