package connection

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
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
