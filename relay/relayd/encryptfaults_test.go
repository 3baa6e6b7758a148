package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"mailproxy/relay"
	"mailproxy/relay/internal/wire"
	"mailproxy/relay/relaytest"
)

// stream is n bytes that are always the same.
func stream(seed byte, n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), n)
}

func sum(r io.Reader) (string, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return fmt.Sprintf("%x", h.Sum(nil)), n, err
}

// TestBulkThroughStart: 64 MiB each way. They begin before the login, so that everything is full when the pair is taken out.
func TestBulkThroughStart(t *testing.T) {
	s, f := startService(t), newFixture(t)
	const size, line = 64 << 20, 100
	tcp := func(t testing.TB) (relay.Conn, relay.Conn) { return relaytest.TCP(t, 0) }
	for name, tc := range map[string]struct {
		cfg      *tls.Config
		mailhost func(t testing.TB) (relay.Conn, relay.Conn)
	}{
		"tls13+tcp": {insecure(), tcp}, "tls13+mailhost": {insecure(), f.mailhostKind(s).Make}, "cbc+tcp": {cbc(), tcp},
	} {
		x, c, err := f.encrypt(t, s.socket, tc.cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		nm, fm := tc.mailhost(t)
		_ = fm.SetDeadline(time.Now().Add(60 * time.Second))
		_ = c.SetDeadline(time.Now().Add(60 * time.Second))
		go func() { _, _ = io.Copy(c, stream(1, line+size)); _ = c.CloseWrite() }()
		go func() { _, _ = io.Copy(fm, stream(2, size)); _ = fm.CloseWrite() }()
		if _, err := io.ReadFull(x, make([]byte, line)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // the pair fills up
		greeting := strings.Repeat("* CAPABILITY\r\n", 2000)
		if err := x.hand(s.socket, nm, greeting); err != nil {
			t.Fatal(err)
		}
		x.Close()
		nm.Close()
		type result struct {
			sum string
			n   int64
			err error
		}
		got := make(chan result, 1)
		go func() {
			h, n, err := sum(fm)
			got <- result{h, n, err}
		}()
		back, n, err := sum(struct{ io.Reader }{c})
		want, _, _ := sum(io.MultiReader(strings.NewReader(greeting), stream(2, size)))
		if back != want {
			t.Errorf("%s: the client got %d bytes, or others, %v", name, n, err)
		}
		all := stream(1, line+size)
		_, _ = io.CopyN(io.Discard, all, line)
		want, _, _ = sum(all)
		if r := <-got; r.sum != want {
			t.Errorf("%s: the mailhost got %d bytes, or others, %v", name, r.n, r.err)
		}
		waitFor(t, func() bool { return s.limits.now() == 0 })
		end := fmt.Sprintf("rcvd=%d, sent=%d", int64(size), int64(size))
		waitFor(t, func() bool { return strings.Contains(s.log.String(), end) })
		c.Close()
		fm.Close()
	}
}

// TestHalfClosedBeforeStart: a client that has said all it wants to say before it was logged in still gets its answers.
func TestHalfClosedBeforeStart(t *testing.T) {
	s, f := startService(t), newFixture(t)
	for _, cfg := range []*tls.Config{insecure(), cbc()} {
		x, c, err := f.encrypt(t, s.socket, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "b LOGOUT\r\n")
		_ = c.CloseWrite()
		time.Sleep(50 * time.Millisecond)
		nm, fm := relaytest.TCP(t, 0)
		if err := x.hand(s.socket, nm, "a OK\r\n"); err != nil {
			t.Fatal(err)
		}
		x.Close()
		nm.Close()
		if got, err := io.ReadAll(fm); string(got) != "b LOGOUT\r\n" || err != nil {
			t.Errorf("the mailhost got %q, %v", got, err)
		}
		_, _ = io.WriteString(fm, "* BYE\r\n")
		fm.Close()
		if got, err := io.ReadAll(c); string(got) != "a OK\r\n* BYE\r\n" || err != nil {
			t.Errorf("the client got %q, %v", got, err)
		}
		c.Close()
	}
	waitFor(t, func() bool { return s.limits.now() == 0 && s.encryptions.now() == 0 })
}

// TestGoneBeforeStart: a client that is gone when the session begins: what it had sent arrives.
func TestGoneBeforeStart(t *testing.T) {
	s, f := startService(t), newFixture(t)
	x, c, err := f.encrypt(t, s.socket, insecure(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "b LOGOUT\r\n")
	time.Sleep(50 * time.Millisecond)
	relaytest.Reset(c)
	waitFor(t, func() bool { out, _, _ := ask(s.socket, "who"); return out == "" })
	nm, fm := relaytest.TCP(t, 0)
	if err := x.hand(s.socket, nm, ""); err != nil {
		t.Fatal(err)
	}
	x.Close()
	nm.Close()
	if got, err := io.ReadAll(fm); string(got) != "b LOGOUT\r\n" || err != nil {
		t.Errorf("the mailhost got %q, %v", got, err)
	}
	fm.Close()
	waitFor(t, func() bool { return s.limits.now() == 0 && s.encryptions.now() == 0 })
}

// TestRefused: a refusal leaves the encrypted connection as it was.
func TestRefused(t *testing.T) {
	s, f := startService(t, "-maxperuser", "1"), newFixture(t)
	fc, other, err := s.hand(t, info("ann"))
	if err != nil {
		t.Fatal(err)
	}
	x, c, err := f.encrypt(t, s.socket, insecure(), nil)
	if err != nil {
		t.Fatal(err)
	}
	nm, fm := relaytest.TCP(t, 0)
	for range 2 {
		if err := x.hand(s.socket, nm, "a OK\r\n"); !errors.Is(err, relay.ErrLimit) {
			t.Errorf("beyond the limit: %v", err)
		}
		exchange(t, x, c)
		exchange(t, c, x)
	}
	fc.Close()
	other.Close()
	waitFor(t, func() bool { return s.limits.now() == 0 })
	// Join in this process: relayd goes on with the encryption.
	done := make(chan struct{})
	go func() {
		_, _ = relay.Join(context.Background(), x, nm, relay.Options{})
		x.Close()
		nm.Close()
		close(done)
	}()
	exchange(t, c, fm)
	exchange(t, fm, c)
	waitFor(t, func() bool { return s.encryptions.now() == 0 && s.limits.now() == 1 })
	c.Close()
	fm.Close()
	<-done
}

// TestLoginTimeLimit: a front end that neither logs in nor ends loses the connection.
func TestLoginTimeLimit(t *testing.T) {
	s, f := startService(t), newFixture(t)
	for _, cfg := range []*tls.Config{insecure(), cbc()} {
		x, c, err := f.encrypt(t, s.socket, cfg, func(r *relay.EncryptRequest) { r.Login = 300 * time.Millisecond })
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(x, "* BYE\r\n")
		if got, err := io.ReadAll(c); string(got) != "* BYE\r\n" || err != nil {
			t.Errorf("the client got %q, %v", got, err)
		}
		if n, err := x.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("the front end got %d bytes, %v", n, err)
		}
		waitFor(t, func() bool { return s.encryptions.now() == 0 && s.counters.kept.Load() == 0 })
	}
}

// TestEncryptKilled: relayd is killed at each step. The front end knows whether the connection is still its own.
func TestEncryptKilled(t *testing.T) {
	f := newFixture(t)
	try := func(t *testing.T, p *process, speak bool) error {
		server, far := relaytest.TCP(t, 0)
		_, farEnd := socketPair(t)
		_, _ = io.WriteString(far, "hello")
		if speak {
			_, _ = io.WriteString(far, "\x16\x03\x01")
		}
		_, err := relay.Encrypt(context.Background(), p.socket, f.request(server, farEnd, nil))
		if errors.Is(err, relay.ErrUnavailable) {
			expectText(t, server, "hello")
		}
		return err
	}
	t.Run("before", func(t *testing.T) {
		p := startProcess(t)
		p.kill()
		if err := try(t, p, false); !errors.Is(err, relay.ErrUnavailable) {
			t.Error(err)
		}
	})
	t.Run("stopped, then killed", func(t *testing.T) {
		p := startProcess(t)
		p.freeze()
		time.AfterFunc(200*time.Millisecond, p.kill)
		if err := try(t, p, false); !errors.Is(err, relay.ErrUnavailable) {
			t.Error(err)
		}
	})
	t.Run("stopped for good", func(t *testing.T) {
		p := startProcess(t)
		p.freeze()
		begin := time.Now()
		if err := try(t, p, false); !errors.Is(err, relay.ErrUnavailable) || time.Since(begin) > 12*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		p.kill()
	})
	t.Run("in the handshake", func(t *testing.T) {
		p := startProcess(t)
		time.AfterFunc(300*time.Millisecond, p.kill)
		server, _ := relaytest.TCP(t, 0)
		_, farEnd := socketPair(t)
		begin := time.Now()
		_, err := relay.Encrypt(context.Background(), p.socket, f.request(server, farEnd, nil))
		if err == nil || errors.Is(err, relay.ErrUnavailable) || time.Since(begin) > 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
	for _, step := range []string{"after the handshake", "stopped, then killed, at the hand-over", "afterwards"} {
		t.Run(step, func(t *testing.T) {
			p := startProcess(t)
			x, c, err := f.encrypt(t, p.socket, insecure(), nil)
			if err != nil {
				t.Fatal(err)
			}
			nm, fm := relaytest.TCP(t, 0)
			want := relay.ErrUnavailable
			switch step {
			case "after the handshake":
				p.kill()
			case "afterwards":
				want = nil
			default:
				p.freeze()
				time.AfterFunc(200*time.Millisecond, p.kill)
			}
			if err := x.hand(p.socket, nm, ""); !errors.Is(err, want) {
				t.Fatal(err)
			}
			if want == nil {
				exchange(t, c, fm)
				p.kill()
			}
			begin := time.Now()
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("the client got something")
			}
			_, _ = relay.Join(context.Background(), x, nm, relay.Options{HalfClosed: time.Second}) // does not hang
			if time.Since(begin) > 5*time.Second {
				t.Errorf("it took %v", time.Since(begin))
			}
		})
	}
}

// TestEncryptWithoutDescriptors: when there are none left, a front end hears it while it can still make the handshake itself.
func TestEncryptWithoutDescriptors(t *testing.T) {
	p, f := startProcess(t, noFile+"=60", "-max", "1000"), newFixture(t)
	unavailable := 0
	for range 40 {
		server, far := relaytest.TCP(t, 0)
		near, farEnd := socketPair(t)
		done := make(chan struct{})
		go func() {
			_ = tls.Client(far, insecure()).Handshake()
			close(done)
		}()
		e, err := relay.Encrypt(context.Background(), p.socket, f.request(server, farEnd, nil))
		switch {
		case err == nil:
			x := &front{near, e}
			t.Cleanup(func() { x.Close() })
		case errors.Is(err, relay.ErrUnavailable):
			unavailable++
			_ = server.SetReadDeadline(time.Now().Add(5 * time.Second))
			if n, err := server.Read(make([]byte, 1)); n != 1 {
				t.Errorf("the ClientHello is gone: %v", err)
			}
		default:
			t.Error(err)
		}
		server.Close()
		farEnd.Close()
	}
	if unavailable == 0 || unavailable == 40 {
		t.Errorf("%d of 40 sent back", unavailable)
	}
}

// TestEncryptRestart: what is logged in changes process, what is logging in stays where it is, and ends there.
func TestEncryptRestart(t *testing.T) {
	p, f := startProcess(t), newFixture(t)
	begin := func() (*front, *tls.Conn, relay.Conn, relay.Conn) {
		x, c, err := f.encrypt(t, p.socket, insecure(), nil)
		if err != nil {
			t.Fatal(err)
		}
		nm, fm := relaytest.TCP(t, 0)
		return x, c, nm, fm
	}
	x1, c1, nm1, fm1 := begin()
	if err := x1.hand(p.socket, nm1, ""); err != nil {
		t.Fatal(err)
	}
	x2, c2, nm2, fm2 := begin()
	xl, cl, _, _ := begin() // its local server goes on over the pair
	if err := xl.e.Continue(context.Background(), relay.Info{User: "local"}, relay.Options{}); err != nil {
		t.Fatal(err)
	}
	p.restart()
	if out, _, _ := ask(p.socket, "who"); strings.Count(out, "\n") != 2 {
		t.Errorf("the new process has: %s", out)
	}
	exchange(t, c1, fm1)
	exchange(t, fm1, c1)
	exchange(t, cl, xl)
	exchange(t, xl, cl)
	exchange(t, c2, x2)
	if err := x2.hand(p.socket, nm2, ""); err != nil {
		t.Fatal(err)
	}
	x2.Close()
	nm2.Close()
	exchange(t, c2, fm2)
	exchange(t, fm2, c2)
	c2.Close()
	fm2.Close()
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		t.Error("the first process does not end")
	}
	exchange(t, c1, fm1)
	x3, c3, nm3, fm3 := begin()
	if err := x3.hand(p.socket, nm3, ""); err != nil {
		t.Fatal(err)
	}
	exchange(t, c3, fm3)
}

// TestIdleEncrypted: nothing is left of the handshake: no goroutine, no descriptor of the pair, and a session as small as any.
func TestIdleEncrypted(t *testing.T) {
	s, f := startService(t), newFixture(t)
	if n := unsafe.Sizeof(session{}); n > 288 {
		t.Errorf("a session takes %d bytes", n) // the next size class is 320
	}
	x, _, err := f.encrypt(t, s.socket, insecure(), nil)
	if err != nil {
		t.Fatal(err)
	}
	x.Close()
	waitFor(t, func() bool { return s.encryptions.now() == 0 })
	time.Sleep(50 * time.Millisecond)
	goroutines, files := runtime.NumGoroutine(), countFiles(t)
	const n = 20
	for range n {
		x, _, err := f.encrypt(t, s.socket, insecure(), nil)
		if err != nil {
			t.Fatal(err)
		}
		nm, _ := relaytest.TCP(t, 0)
		if err := x.hand(s.socket, nm, ""); err != nil {
			t.Fatal(err)
		}
		x.Close()
		nm.Close()
	}
	waitFor(t, func() bool { return runtime.NumGoroutine() <= goroutines && countFiles(t) <= files+4*n })
}

// FuzzEncrypt: whatever a request says is refused, or is one with limits, and with a file for each kind.
func FuzzEncrypt(f *testing.F) {
	f.Add([]byte("ENCRYPT\nFILES=CERT\nHANDSHAKE_MS=1000\nLOGIN_MS=60000\nSTARTTLS=1\nHOST=\nIP=192.0.2.1\nPORT=1\nPROTOCOL=IMAP\nSET_TLS_CERTFILE=x\n\n"), 3)
	f.Add([]byte("ENCRYPT\nFILES=CERT CERT\nHANDSHAKE_MS=1\nLOGIN_MS=1\n\n"), 4)
	f.Add([]byte("ENCRYPT\nHANDSHAKE_MS=-1\nLOGIN_MS=99999999999\n\n"), 2)
	f.Add([]byte("ENCRYPT\nHANDSHAKE_MS=1\nLOGIN_MS=1\nHOST=a\x7fb\n\n"), 2)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { wire.CloseAll(fds[:]) })
	f.Fuzz(func(t *testing.T, p []byte, n int) {
		m, err := wire.Decode(p)
		if err != nil || n < 0 || n > wire.MaxFiles {
			return
		}
		all := append([]int{}, fds[:]...)
		for len(all) < n {
			all = append(all, fds[0])
		}
		e, err := encryptionFrom(m, all[:n])
		if err != nil {
			return
		}
		if e.handlim <= 0 || e.login <= 0 || len(e.request.Files) != n-2 || loggable(e.info) != nil {
			t.Errorf("%+v", e)
		}
		for name, value := range e.request.Settings {
			if strings.ContainsAny(name+value, "\n\x00") {
				t.Errorf("setting %q=%q", name, value)
			}
		}
	})
}

// FuzzFollow: no message, in any order, with any descriptors, is more than a front end that loses its connection.
func FuzzFollow(f *testing.F) {
	s, fix := startService(f), newFixture(f)
	f.Add([]byte("FILES\nFILES=CERT\n\n"), 1, []byte("NONE\n\n"))
	f.Add([]byte("TAKE\nCLIENT_ID=x\nSTART=1\nKEEPALIVE=0\n\n"), 1, []byte("START\n\n"))
	f.Add([]byte("CONTINUE\nSTART=1\nKEEPALIVE=0\n\n"), 0, []byte("WHO\n\n"))
	f.Add([]byte("START\n\n"), 3, []byte("ENCRYPT\n\n"))
	null, err := os.Open(os.DevNull)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a []byte, n int, b []byte) {
		if n < 0 || n > 4 || len(a)+len(b) > 4096 {
			return
		}
		c, err := wire.Call(context.Background(), s.socket, time.Now().Add(5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		server, far := relaytest.TCP(t, 0)
		_, farEnd := socketPair(t)
		go func() { _ = tls.Client(far, insecure()).Handshake() }()
		raw, _ := server.SyscallConn()
		cert, err := os.Open(fix.settings["TLS_CERTFILE"])
		if err != nil {
			t.Fatal(err)
		}
		defer cert.Close()
		_ = raw.Control(func(fd uintptr) {
			m := &wire.Message{Verb: "ENCRYPT", Fields: map[string]string{"FILES": "CERT", "HANDSHAKE_MS": "1000", "LOGIN_MS": "1000"}}
			_ = wire.Send(c, m, int(fd), int(farEnd.Fd()), int(cert.Fd()))
		})
		for _, p := range [][]byte{a, b} {
			m, err := wire.Decode(bytes.Clone(p))
			if err != nil {
				continue
			}
			fds := make([]int, n)
			for i := range fds {
				fds[i] = int(null.Fd())
			}
			_ = wire.Send(c, m, fds...)
		}
		c.Close()
		server.Close()
		far.Close()
		if _, code, _ := ask(s.socket, "who"); code != 0 {
			t.Fatal("relayd is gone")
		}
	})
}
