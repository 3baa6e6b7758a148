package limits

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// socket is a Socket of which nothing but reading and writing is used.
type socket struct{ net.Conn }

func (socket) SyscallConn() (syscall.RawConn, error) { return nil, errors.ErrUnsupported }
func (socket) CloseWrite() error                     { return errors.ErrUnsupported }

func pipe() (client net.Conn, server Socket) {
	client, below := net.Pipe()
	return client, socket{below}
}

// read reads one byte and tells the result.
func read(c Socket) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		done <- err
	}()
	return done
}

func isOver(done <-chan error) bool {
	synctest.Wait()
	return len(done) == 1
}

// Any number of silent clients keep nobody from a slot; who computes does.
func TestHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHandshakes(1)
		ctx := t.Context()
		for range 10 {
			client, server := pipe()
			defer client.Close()
			c, _ := h.Limit(ctx, server)
			read(c)
		}
		client1, server1 := pipe()
		first, endFirst := h.Limit(ctx, server1)
		done := read(first)
		client1.Write([]byte("x"))
		if !isOver(done) {
			t.Fatal("a silent client has the only place")
		}
		client2, server2 := pipe()
		second, endSecond := h.Limit(ctx, server2)
		done = read(second)
		client2.Write([]byte("x"))
		if isOver(done) {
			t.Fatal("two handshakes are computed at once")
		}
		waits := read(first) // for its client's next bytes
		if !isOver(done) {
			t.Fatal("a handshake that waits for its client keeps its place")
		}
		client1.Write([]byte("x"))
		if isOver(waits) {
			t.Fatal("it came back without a place")
		}
		endSecond()
		if !isOver(waits) {
			t.Fatal("the end of a handshake makes no room")
		}
		endFirst()
		if len(h.slots) != 0 {
			t.Errorf("%d places are taken at the end", len(h.slots))
		}
		// From now on it is a connection like any other.
		h.slots <- struct{}{}
		done = read(second)
		client2.Write([]byte("x"))
		if !isOver(done) {
			t.Error("a connection after its handshake waits for a place")
		}
	})
}

// A client that reads nothing has no slot either.
func TestHandshakesWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHandshakes(1)
		client, server := pipe()
		c, end := h.Limit(t.Context(), server)
		done := read(c)
		client.Write([]byte("x"))
		if !isOver(done) || len(h.slots) != 1 {
			t.Fatal("no place")
		}
		wrote := make(chan error, 1)
		go func() {
			_, err := c.Write([]byte("y"))
			wrote <- err
		}()
		if isOver(wrote) || len(h.slots) != 0 {
			t.Error("a blocked write has a place")
		}
		client.Read(make([]byte, 1))
		if !isOver(wrote) || len(h.slots) != 1 {
			t.Error("after the write there is no place")
		}
		end()
	})
}

func TestHandshakesTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHandshakes(1)
		h.slots <- struct{}{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		client, server := pipe()
		c, end := h.Limit(ctx, server)
		done := read(c)
		client.Write([]byte("x"))
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		end()
		if len(h.slots) != 1 {
			t.Error("a place was given up that was never had")
		}
	})
}
