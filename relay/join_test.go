package relay_test

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"mailproxy/relay"
	"mailproxy/relay/relaytest"
)

func inProcess(t testing.TB, client, mailhost relay.Conn) func() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = relay.Join(context.Background(), client, mailhost, relay.Options{KeepAlive: time.Minute})
		client.Close()
		mailhost.Close()
	}()
	return func() { <-done }
}

func TestJoin(t *testing.T) { relaytest.Run(t, relaytest.Kinds(), relaytest.Kinds(), inProcess) }

// hidden is a connection that can not be spliced, as the pipes of some launchers.
type hidden struct{ c relay.Conn }

func (h hidden) Read(p []byte) (int, error)         { return h.c.Read(p) }
func (h hidden) Write(p []byte) (int, error)        { return h.c.Write(p) }
func (h hidden) Close() error                       { return h.c.Close() }
func (h hidden) CloseWrite() error                  { return h.c.CloseWrite() }
func (h hidden) SetDeadline(t time.Time) error      { return h.c.SetDeadline(t) }
func (h hidden) SetReadDeadline(t time.Time) error  { return h.c.SetReadDeadline(t) }
func (h hidden) SetWriteDeadline(t time.Time) error { return h.c.SetWriteDeadline(t) }

// TestJoinWaitingDescriptors: the descriptors that a launcher gives are blocking ones.
func TestJoinWaitingDescriptors(t *testing.T) {
	waiting := func(k relaytest.Kind) relaytest.Kind {
		return relaytest.Kind{Name: "waiting-" + k.Name, Orderly: k.Orderly, Make: func(t testing.TB) (relay.Conn, relay.Conn) {
			near, far := k.Make(t)
			raw, err := near.(syscall.Conn).SyscallConn()
			if err == nil {
				err = raw.Control(func(fd uintptr) { _ = syscall.SetNonblock(int(fd), false) })
			}
			if err != nil {
				t.Fatal(err)
			}
			return near, far
		}}
	}
	tcp, unix := waiting(relaytest.Kinds()[0]), waiting(relaytest.Kinds()[2])
	relaytest.Run(t, []relaytest.Kind{tcp}, []relaytest.Kind{tcp, unix}, inProcess)
}

func TestJoinCopying(t *testing.T) {
	kinds := []relaytest.Kind{{Name: "copied", Make: func(t testing.TB) (relay.Conn, relay.Conn) {
		near, far := relaytest.TCP(t, 0)
		return hidden{near}, far
	}}}
	relaytest.Run(t, kinds, relaytest.Kinds()[:1], inProcess)
}

func TestJoinTLS(t *testing.T) {
	kinds := []relaytest.Kind{relaytest.TLS(tls.VersionTLS13, 0, false), relaytest.TLS(tls.VersionTLS12, 0, false)}
	relaytest.Run(t, kinds, relaytest.Kinds()[:1], inProcess)
}

func TestJoinDetached(t *testing.T) {
	tcp := relaytest.Kinds()[:1]
	relaytest.Run(t, relaytest.TLSKinds(), tcp, inProcess)
	relaytest.Run(t, relaytest.TLSKinds()[:1], []relaytest.Kind{relaytest.TLSMailhost(tls.VersionTLS13)}, inProcess)
	relaytest.Run(t, tcp, []relaytest.Kind{relaytest.TLSMailhost(tls.VersionTLS12)}, inProcess)
}

// TestJoinCanceled: the end of the process ends the session, spliced or copied, and leaves the closing to the caller.
func TestJoinCanceled(t *testing.T) {
	for _, copied := range []bool{false, true} {
		near, _ := relaytest.TCP(t, 0)
		nm, _ := relaytest.TCP(t, 0)
		nc := relay.Conn(near)
		if copied {
			nc = hidden{near}
		}
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(20*time.Millisecond, cancel)
		if _, err := relay.Join(ctx, nc, nm, relay.Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("copied %v: %v", copied, err)
		}
	}
}

// TestJoinCounts: bytes are counted where they come from, and nothing is left open.
func TestJoinCounts(t *testing.T) {
	before := openFiles(t)
	for range 20 {
		nc, fc := relaytest.TCP(t, 0)
		nm, fm := relaytest.Unix(t, 0)
		go func() {
			_, _ = fc.Write(make([]byte, 200_000))
			fc.Close()
		}()
		go func() {
			buf := make([]byte, 300_000)
			for {
				if _, err := fm.Read(buf); err != nil {
					break
				}
			}
			fm.Close()
		}()
		s, err := relay.Join(context.Background(), nc, nm, relay.Options{})
		if err != nil || s.FromClient != 200_000 || s.FromMailhost != 0 || s.Duration <= 0 {
			t.Errorf("%+v, %v", s, err)
		}
		nc.Close()
		nm.Close()
	}
	runtime.GC()
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}
