package connection

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestHungUp(t *testing.T) {
	for err, want := range map[error]bool{
		nil: false, io.EOF: true, fmt.Errorf("reading: %w", io.ErrUnexpectedEOF): true,
		&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}: true,
		&net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)}:    true,
		os.ErrDeadlineExceeded: false, syscall.ECONNREFUSED: false, net.ErrClosed: false, errors.New("NO"): false,
	} {
		if got := HungUp(err); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
}

func TestBottom(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if Bottom(a) != a {
		t.Error("a connection without another one below is not its own")
	}
	if over := tls.Client(tls.Client(a, nil), nil); Bottom(over) != a {
		t.Error("the connection below two layers was not found")
	}
}

// Reads end with the context, and at its deadline; afterwards the connection waits as long as it takes.
func TestDuring(t *testing.T) {
	cause := errors.New("cause")
	for name, test := range map[string]struct {
		ends bool // the context does while use runs
		use  func(conn net.Conn) error
		want error
	}{
		"success":  {false, func(net.Conn) error { return nil }, nil},
		"error":    {false, func(net.Conn) error { return io.EOF }, io.EOF},
		"too late": {true, func(net.Conn) error { return nil }, cause},
		"a read":   {true, read, os.ErrDeadlineExceeded},
		"deadline": {false, read, os.ErrDeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn, other := net.Pipe()
			defer conn.Close()
			defer other.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			ctx, end := context.WithCancelCause(ctx)
			defer end(nil)
			err := During(ctx, conn, func() error {
				if test.ends {
					end(cause)
				}
				return test.use(conn)
			})
			if !errors.Is(err, test.want) || err == nil != (test.want == nil) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
			}
			if err != nil {
				return
			}
			go func() {
				time.Sleep(time.Hour)
				_, _ = other.Write([]byte{0})
			}()
			if err := read(conn); err != nil {
				t.Errorf("%s: afterwards: %v", name, err)
			}
		})
	}
}

func read(conn net.Conn) error {
	_, err := conn.Read(make([]byte, 1))
	return err
}
