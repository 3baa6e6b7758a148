package pool

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// pair returns the two ends of a connection, the first made quick.
func pair(t *testing.T, network, addr string) (q, far net.Conn) {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	q = Quick(near)
	t.Cleanup(func() { q.Close(); far.Close() })
	if _, ok := q.(*quick); !ok {
		t.Fatalf("%T is not quick", q)
	}
	return q, far
}

func TestQuick(t *testing.T) {
	for network, addr := range map[string]string{"tcp": "127.0.0.1:0", "unix": t.TempDir() + "/socket"} {
		t.Run(network, func(t *testing.T) {
			q, far := pair(t, network, addr)
			big := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // 8 MiB: more than any socket buffer
			go func() { _, _ = io.Copy(far, far) }()
			failed := make(chan error, 1)
			go func() {
				n, err := q.Write(big)
				if err == nil && n != len(big) {
					err = io.ErrShortWrite
				}
				failed <- err
			}()
			got := make([]byte, len(big))
			if _, err := io.ReadFull(q, got); err != nil || !bytes.Equal(got, big) {
				t.Fatalf("the echo differs, %v", err)
			}
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
			if n, err := q.Read(nil); n != 0 || err != nil {
				t.Errorf("Read(nil) = %d, %v", n, err)
			}
			if err := q.SetDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			var ne net.Error
			if _, err := q.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("Read after the deadline: %v", err)
			}
			if _, err := q.Write(got); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Write after the deadline: %v", err)
			}
		})
	}
}

func TestQuickEnds(t *testing.T) {
	q, far := pair(t, "unix", t.TempDir()+"/socket")
	far.Close()
	if n, err := q.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("Read at the end: %d, %v", n, err)
	}
	if _, err := q.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write to nobody: %v", err)
	}
	q.Close()
	if _, err := q.Read(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}

	// Close ends a read that is waiting.
	q, _ = pair(t, "tcp", "127.0.0.1:0")
	time.AfterFunc(10*time.Millisecond, func() { q.Close() })
	if _, err := q.Read(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read during Close: %v", err)
	}
	near, _ := net.Pipe()
	if Quick(near) != near {
		t.Error("a pipe is no socket")
	}
}
