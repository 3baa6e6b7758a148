package inetd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func pair(t *testing.T, long func()) (near, far *Socket) {
	t.Helper()
	near, far, err := Pair(long)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// Bytes arrive, more than the sockets' buffers hold, in both directions at once, and each end of a direction by itself.
func TestSocketStream(t *testing.T) {
	t.Parallel()
	near, far := pair(t, nil)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, way := range [][2]*Socket{{near, far}, {far, near}} {
		go func() {
			if n, err := way[0].Write(data); n != len(data) || err != nil {
				t.Errorf("wrote %d: %v", n, err)
			}
			if err := way[0].CloseWrite(); err != nil {
				t.Error(err)
			}
		}()
	}
	got := make(chan []byte)
	for _, s := range []*Socket{near, far} {
		go func() {
			all, err := io.ReadAll(s)
			if err != nil {
				t.Error(err)
			}
			got <- all
		}()
	}
	for range 2 {
		if all := <-got; !bytes.Equal(all, data) {
			t.Errorf("%d bytes came, not %d, or other ones", len(all), len(data))
		}
	}
}

// The socket's own mode does not matter, and stays as it is.
func TestSocketModes(t *testing.T) {
	t.Parallel()
	for _, nonblocking := range []bool{false, true} {
		near, far := pair(t, nil)
		if err := control(near, func(fd int) error { return unix.SetNonblock(fd, nonblocking) }); err != nil {
			t.Fatal(err)
		}
		near.SetDeadline(time.Now().Add(30 * time.Millisecond))
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("nonblocking %v: %v", nonblocking, err)
		}
		if n, err := near.Write(make([]byte, 16<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("nonblocking %v: wrote %d, %v", nonblocking, n, err)
		}
		near.SetDeadline(time.Time{})
		go far.Write([]byte("x"))
		if n, err := near.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("nonblocking %v: %d %v", nonblocking, n, err)
		}
		control(near, func(fd int) error {
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 != nonblocking {
				t.Errorf("the mode has changed: %o, %v", flags, err)
			}
			return nil
		})
	}
}

// A wait ends when its deadline comes, is moved, or the socket is closed, whether it has lasted long or not.
func TestSocketInterrupts(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{10 * time.Millisecond, 3 * patience} {
		for _, c := range []struct {
			name string
			do   func(*Socket)
			want error
		}{
			{"deadline", func(s *Socket) { s.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
			{"both", func(s *Socket) { s.SetDeadline(time.Now()) }, os.ErrDeadlineExceeded},
			{"close", func(s *Socket) { s.Close() }, net.ErrClosed},
			{"peer", nil, io.EOF},
		} {
			near, far := pair(t, nil)
			begun := time.Now()
			time.AfterFunc(after, func() {
				if c.do == nil {
					far.Close()
					return
				}
				near.SetWriteDeadline(time.Unix(1, 0)) // is not the reader's business
				c.do(near)
			})
			_, err := near.Read(make([]byte, 1))
			if d := time.Since(begun); !errors.Is(err, c.want) || d < after || d > after+20*time.Second {
				t.Errorf("%s after %v: %v, %v", c.name, after, err, d)
			}
		}
	}
}

// Several waits are all woken up.
func TestSocketManyWaiters(t *testing.T) {
	t.Parallel()
	near, _ := pair(t, nil)
	full := make([]byte, 16<<20)
	ends := make(chan error, 3)
	for range 2 {
		go func() { _, err := near.Read(make([]byte, 1)); ends <- err }()
	}
	go func() { _, err := near.Write(full); ends <- err }()
	time.Sleep(3 * patience)
	near.SetDeadline(time.Now())
	for range 3 {
		if err := <-ends; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	}
}

// Only long waits call long, and a timeout error is one to everybody who asks as for net's connections.
func TestSocketLong(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	near, far := pair(t, func() { calls.Add(1) })
	go far.Write([]byte("x"))
	near.Read(make([]byte, 1))
	if n := calls.Load(); n != 0 {
		t.Errorf("called %d times for nothing", n)
	}
	near.SetReadDeadline(time.Now().Add(3 * patience))
	_, err := near.Read(make([]byte, 1))
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() || calls.Load() != 1 {
		t.Errorf("%v, called %d times", err, calls.Load())
	}
}

func TestSocketClosed(t *testing.T) {
	t.Parallel()
	near, _ := pair(t, nil)
	near.Close()
	_, rerr := near.Read(make([]byte, 1))
	_, werr := near.Write([]byte("x"))
	raw, _ := near.SyscallConn()
	for i, err := range []error{rerr, werr, near.Close(), near.CloseWrite(), near.SetDeadline(time.Now()), raw.Control(func(uintptr) {})} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if near.LocalAddr().Network() != "unix" || near.RemoteAddr().Network() != "unix" {
		t.Errorf("%v %v", near.LocalAddr(), near.RemoteAddr())
	}
	// A reader that nobody reads for.
	near, far := pair(t, nil)
	far.Close()
	if _, err := near.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("%v, and no SIGPIPE", err)
	}
}

func TestDial(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	s, err := Dial(t.Context(), addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	there, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if s.RemoteAddr().String() != there.LocalAddr().String() || s.LocalAddr().String() != there.RemoteAddr().String() {
		t.Errorf("%v - %v", s.LocalAddr(), s.RemoteAddr())
	}
	io.WriteString(s, "hello")
	if text := make([]byte, 5); true {
		if _, err := io.ReadFull(there, text); err != nil || string(text) != "hello" {
			t.Errorf("%q, %v", text, err)
		}
	}
	l.Close()
	if _, err := Dial(t.Context(), addr, nil); !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "dial tcp "+addr.String()+": connect: connection refused") {
		t.Error(err)
	}
	if _, err := Dial(t.Context(), netip.MustParseAddrPort("[fe80::1%nosuchlink]:143"), nil); err == nil || !strings.Contains(err.Error(), "nosuchlink") {
		t.Error(err)
	}
}

// An address that does not answer, here a listener whose queue is full, is given up at the deadline or when the context ends.
func TestDialHangs(t *testing.T) {
	t.Parallel()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, _ := unix.Getsockname(fd)
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*unix.SockaddrInet4).Port))
	limited := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(t.Context(), 300*time.Millisecond)
	}
	for range 4 { // how many fit into the queue is the kernel's choice
		ctx, cancel := limited()
		defer cancel()
		s, err := Dial(ctx, addr, nil)
		if err == nil {
			defer s.Close()
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := Dial(ctx, addr, nil); !errors.Is(err, context.Canceled) && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		return
	}
	t.Error("the queue is never full")
}

// A unix listener whose queue is full is waited for, but not for ever.
func TestDialUnix(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/s"
	if _, err := DialUnix(path, time.Second, nil); !errors.Is(err, syscall.ENOENT) {
		t.Error(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	first, err := DialUnix(path, time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := DialUnix(path, 100*time.Millisecond, nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a full queue: %v", err)
	}
	time.AfterFunc(200*time.Millisecond, func() {
		if n, _, err := unix.Accept(fd); err == nil {
			unix.Close(n)
		}
	})
	second, err := DialUnix(path, 20*time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}
