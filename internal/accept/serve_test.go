package accept

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestServe: connections are served until the end of ctx, those that come later wait for the next time, and
// one for which there is no slot waits for one.
func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	slots := make(chan struct{}, 1)
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		return c
	}
	waiting := dial()
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		done, served := make(chan error, 1), make(chan net.Conn, 2)
		go func() {
			done <- Serve(ctx, l, slots, func(err error) { t.Error(err) }, func(c net.Conn) { served <- c })
		}()
		for last := range 2 {
			c := <-served
			if len(served) > 0 {
				t.Error("a connection for which there is no slot")
			}
			_, _ = io.WriteString(c, "x")
			c.Close()
			if b, err := io.ReadAll(waiting); string(b) != "x" {
				t.Fatal(string(b), err)
			}
			waiting = dial()
			if last == 0 {
				<-slots
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(served) > 0 {
			t.Error("a connection was accepted for which there is no slot")
		}
		<-slots
	}
	l.Close()
	if err := Serve(t.Context(), l, nil, nil, nil); err != nil {
		t.Errorf("a listener that is closed: %v", err)
	}
}

// TestServeNothing: a socket that does not listen is an error.
func TestServeNothing(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := Serve(t.Context(), l, nil, nil, nil); !errors.Is(err, unix.EINVAL) {
		t.Error(err)
	}
}
