package pump

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/connection"
	"mailproxy/relay"
	"mailproxy/relay/engine"
	"mailproxy/relay/tlsrecord"
	"mailproxy/tests/relaytest"
	"mailproxy/tests/testlog"
	"mailproxy/tests/testprocess"
)

// world is an engine, and the pumps that have it carry what it cannot.
type world struct {
	*engine.Engine
	pumps Pumps

	mu    sync.Mutex
	lines []string
	ends  []error
}

func newWorld(t testing.TB, limits engine.Limits) *world {
	t.Helper()
	w := &world{}
	log := func(line string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.lines = append(w.lines, line)
	}
	w.pumps.Log = log
	var err error
	w.Engine, err = engine.New(engine.Config{Limits: limits, Log: log,
		Ended: func(_ relay.Info, _ relay.Stats, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ends = append(w.ends, err)
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.shutdown)
	return w
}

func (w *world) shutdown() {
	w.Shutdown(context.Background())
	w.pumps.Shutdown()
}

// ended returns why each session has ended.
func (w *world) ended() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]error(nil), w.ends...)
}

func (w *world) log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.lines, "\n")
}

func (w *world) carry(t testing.TB, user string, c, m relaytest.Conn, halfClose time.Duration) error {
	return w.pumps.Carry(&relay.Session{Client: c, Mailhost: m, HalfClose: halfClose,
		Info: relay.Info{User: user, Protocol: "IMAP", RemoteIP: "192.0.2.7", Mailhost: "mail1"}},
		func(s *relay.Session) error { return w.Engine.Carry(t.Context(), s) })
}

func joiner(t testing.TB, c, m relaytest.Conn, halfClose time.Duration) func() {
	w := newWorld(t, engine.Limits{})
	if err := w.carry(t, "ann", c, m, halfClose); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = w.Wait(context.Background())
		_ = w.pumps.Wait(context.Background())
	}
}

// hidden is a connection that only this process can serve, as the pipes of some launchers.
type hidden struct{ relaytest.Conn }

func hide(k relaytest.Kind) relaytest.Kind {
	return relaytest.Kind{Name: "hidden-" + k.Name, Orderly: k.Orderly,
		Make: func(t testing.TB) (relaytest.Conn, relaytest.Conn) {
			near, far := k.Make(t)
			return hidden{near}, far
		}}
}

// overTLS is TLS that cannot be detached, of which both ends tell what the other has said.
func overTLS(mailhost bool) relaytest.Kind {
	return relaytest.Kind{Name: "cbc", Make: func(t testing.TB) (relaytest.Conn, relaytest.Conn) {
		t.Helper()
		near, far := relaytest.TCP(t, 0)
		cfg := &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate(t)}, MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}
		any := &tls.Config{InsecureSkipVerify: true, CipherSuites: cfg.CipherSuites}
		n, f := tlsrecord.Server(near, cfg), tlsrecord.Client(far, any)
		if mailhost {
			n, f = tlsrecord.Client(near, any), tlsrecord.Server(far, cfg)
		}
		shaken := make(chan error, 1)
		go func() { shaken <- n.Handshake() }()
		if err := errors.Join(f.Handshake(), <-shaken); err != nil {
			t.Fatal(err)
		}
		if n.CanDetach() == nil {
			t.Fatal("it can be detached")
		}
		return n, f
	}}
}

// kinds are those of clients that only this process can serve.
func kinds() []relaytest.Kind {
	return []relaytest.Kind{hide(relaytest.Kinds()[0]), overTLS(false)}
}

func TestSessions(t *testing.T) {
	tcp := relaytest.Kinds()[:1]
	relaytest.Run(t, kinds(), tcp, joiner)
	relaytest.Run(t, tcp, []relaytest.Kind{overTLS(true)}, joiner)
	relaytest.Run(t, kinds()[:1], []relaytest.Kind{hide(relaytest.Kinds()[2])}, joiner)
}

func TestHalfClosed(t *testing.T) {
	relaytest.HalfClosed(t, kinds(), relaytest.Kinds()[:1], joiner)
	relaytest.HalfClosed(t, kinds()[:1], []relaytest.Kind{overTLS(true)}, joiner)
}

// TestMailhostEnds: a slow client that keeps sending, and that never closes its side, gets every byte, the
// end of the stream, and no reset.
func TestMailhostEnds(t *testing.T) {
	for _, kind := range kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, engine.Limits{})
			nc, fc := kind.Make(t)
			nm, fm := relaytest.TCP(t, 0)
			if err := w.carry(t, "ann", nc, nm, time.Hour); err != nil {
				t.Fatal(err)
			}
			relaytest.SlowClient(t, fc, fm)
			wait(t, "the end", func() bool { return len(w.ended()) == 1 && w.pumps.Count() == 0 })
			if err := w.ended()[0]; err != nil {
				t.Errorf("the session ended with %v", err)
			}
		})
	}
}

// TestTruncated: an end that one side has not said is not told to the other as one that was, whichever of
// them only this process can serve. One that was said is.
func TestTruncated(t *testing.T) {
	tlsClient, tlsMailhost := relaytest.Kind{}, relaytest.Kind{}
	tlsClient.Make, tlsMailhost.Make = overTLS(false).Make, overTLS(true).Make
	plain := relaytest.Kinds()[0]
	for name, tc := range map[string]struct {
		client, mailhost relaytest.Kind
		byMailhost       bool
	}{
		"client to mailhost": {tlsClient, tlsMailhost, false}, "mailhost to client": {tlsClient, tlsMailhost, true},
		"hidden client to mailhost": {hide(plain), tlsMailhost, false},
		"mailhost to TLS client":    {tlsClient, hide(plain), true},
	} {
		for _, orderly := range []bool{false, true} {
			w := newWorld(t, engine.Limits{})
			nc, fc := tc.client.Make(t)
			nm, fm := tc.mailhost.Make(t)
			if err := w.carry(t, "ann", nc, nm, time.Minute); err != nil {
				t.Fatal(err)
			}
			from, to := fc, fm
			if tc.byMailhost {
				from, to = fm, fc
			}
			if _, err := io.WriteString(from, "the last words"); err != nil {
				t.Fatal(err)
			}
			if got := make([]byte, 14); true {
				if _, err := io.ReadFull(to, got); err != nil || string(got) != "the last words" {
					t.Fatalf("%s: %q, %v", name, got, err)
				}
			}
			if orderly {
				_ = from.CloseWrite()
			} else {
				relaytest.Reset(from)
			}
			rest, err := io.ReadAll(to)
			if len(rest) > 0 || errors.Is(err, relay.ErrTruncated) == orderly {
				t.Errorf("%s, in order %v: the other is told %q, %v", name, orderly, rest, err)
			}
			to.Close()
			from.Close()
			wait(t, "the end", func() bool { return len(w.ended()) == 1 && w.pumps.Count() == 0 })
			if err := w.ended()[0]; (err == nil) != orderly {
				t.Errorf("%s, in order %v: the session ended with %v", name, orderly, err)
			}
		}
	}
}

// TestKick: an administrator ends such a session as any other, and its client is not told of an orderly end.
func TestKick(t *testing.T) {
	for _, kind := range kinds() {
		w := newWorld(t, engine.Limits{})
		nc, fc := kind.Make(t)
		nm, fm := relaytest.TCP(t, 0)
		if err := w.carry(t, "ann", nc, nm, time.Minute); err != nil {
			t.Fatal(err)
		}
		wait(t, "the list", func() bool { all := w.List(); return len(all) == 1 && all[0].Info.User == "ann" })
		if n := w.Kick(func(i relay.Info) bool { return i.User == "ann" }); n != 1 {
			t.Errorf("%d kicked", n)
		}
		_, err := fc.Read(make([]byte, 1))
		if err == nil || kind.Name == "cbc" && !errors.Is(err, relay.ErrTruncated) {
			t.Errorf("the client reads %v", err)
		}
		if _, err := fm.Read(make([]byte, 1)); err == nil {
			t.Error("the mailhost's connection is open")
		}
		wait(t, "the end", func() bool { return w.pumps.Count() == 0 })
	}
}

// TestShutdown: nothing is written into a stream, and both sides are closed.
func TestShutdown(t *testing.T) {
	for _, kind := range kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, engine.Limits{})
			nc, fc := kind.Make(t)
			nm, fm := relaytest.TCP(t, 0)
			if err := w.carry(t, "ann", nc, nm, time.Minute); err != nil {
				t.Fatal(err)
			}
			relaytest.Exchange(t, fm, fc)
			relaytest.Exchange(t, fc, fm)
			go w.shutdown()
			for _, c := range []relaytest.Conn{fc, fm} {
				rest, err := io.ReadAll(c)
				if len(rest) > 0 || err != nil && !errors.Is(err, relay.ErrTruncated) {
					t.Errorf("%q, %v", rest, err)
				}
			}
			wait(t, "the end", func() bool { return len(w.ended()) == 1 && w.pumps.Count() == 0 })
			if err := w.ended()[0]; !errors.Is(err, relay.ErrStopped) {
				t.Error(err)
			}
		})
	}
}

// TestShutdownElsewhere: where another process has the session, the end of this one ends it; what that
// process has sent by then is delivered.
func TestShutdownElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, engine.Limits{})
	nc, fc := overTLS(false).Make(t)
	nm, fm := relaytest.TCP(t, 0)
	if err := w.carry(t, "ann", nc, nm, time.Minute); err != nil {
		t.Fatal(err)
	}
	relaytest.Exchange(t, fm, fc)
	if _, err := io.WriteString(fm, "the last words"); err != nil {
		t.Fatal(err)
	}
	wait(t, "the last words are on their way", func() bool {
		all := w.List()
		return len(all) == 1 && all[0].Stats.FromMailhost == int64(len("exchange"+"the last words"))
	})
	go w.pumps.Shutdown()
	if got, err := io.ReadAll(fc); string(got) != "the last words" || !errors.Is(err, relay.ErrTruncated) {
		t.Errorf("the client reads %q, %v", got, err)
	}
	wait(t, "the end", func() bool { return len(w.ended()) == 1 && w.pumps.Count() == 0 })
}

// TestRefused: a session that no carrier takes is the caller's as it was, and nothing is left open.
func TestRefused(t *testing.T) {
	for _, kind := range kinds() {
		w := newWorld(t, engine.Limits{PerUser: 1})
		nc, fc := kind.Make(t)
		nm, fm := relaytest.TCP(t, 0)
		if err := w.carry(t, "ann", nc, nm, time.Minute); err != nil {
			t.Fatal(err)
		}
		relaytest.Exchange(t, fc, fm)
		nc, fc = kind.Make(t)
		nm, fm = relaytest.TCP(t, 0)
		before := testprocess.OpenFiles(t)
		if err := w.carry(t, "ann", nc, nm, time.Minute); !errors.Is(err, relay.ErrLimit) {
			t.Fatal(err)
		}
		if now := testprocess.OpenFiles(t); now != before {
			t.Errorf("%d descriptors, %d before", now, before)
		}
		relaytest.Exchange(t, nc, fc)
		relaytest.Exchange(t, fm, nm)
		w.pumps.Most = 1
		if err := w.carry(t, "bob", nc, nm, time.Minute); !errors.Is(err, relay.ErrUnavailable) {
			t.Errorf("beyond Most: %v", err)
		}
		relaytest.Exchange(t, nc, fc)
	}
}

// TestDirect: a session that a carrier can take costs nothing here.
func TestDirect(t *testing.T) {
	var p Pumps
	nc, _ := relaytest.TLSKinds()[0].Make(t)
	nm, _ := relaytest.TCP(t, 0)
	s := &relay.Session{Client: nc, Mailhost: nm}
	err := p.Carry(s, func(given *relay.Session) error {
		if given != s {
			t.Error("another session")
		}
		return nil
	})
	if err != nil || p.Count() != 0 {
		t.Errorf("%v, %d pumps", err, p.Count())
	}
	c, _ := net.Pipe()
	if err := p.Carry(&relay.Session{Client: c, Mailhost: nm}, nil); !errors.Is(err, relay.ErrUnavailable) {
		t.Errorf("one that cannot end one direction: %v", err)
	}
}

// faulty is a connection with a fault in one method.
type faulty struct {
	relaytest.Conn
	inClose bool
}

func (f faulty) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if !f.inClose {
		panic("in Read")
	}
	return n, err
}

func (f faulty) Close() error {
	_ = f.Conn.Close()
	if f.inClose {
		panic("in Close")
	}
	return nil
}

// TestPanic: a fault ends that session, and no other.
func TestPanic(t *testing.T) {
	for _, inClose := range []bool{false, true} {
		w := newWorld(t, engine.Limits{})
		nc, fc := relaytest.TCP(t, 0)
		nm, fm := relaytest.TCP(t, 0)
		other, otherFar := relaytest.TCP(t, 0)
		otherMail, otherMailFar := relaytest.TCP(t, 0)
		for _, s := range []struct {
			user string
			c, m relaytest.Conn
		}{{"ann", hidden{other}, otherMail}, {"mallory", faulty{nc, inClose}, nm}} {
			if err := w.carry(t, s.user, s.c, s.m, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = io.WriteString(fc, "x")
		fc.Close()
		_, _ = io.Copy(io.Discard, fm) // until it is closed
		fm.Close()
		wait(t, "its end", func() bool { return len(w.ended()) == 1 && w.pumps.Count() == 1 })
		relaytest.Exchange(t, otherFar, otherMailFar)
		if log := w.log(); strings.Count(log, "ERR: panic in a session, which ends: in ") != 1 {
			t.Errorf("log:\n%s", log)
		}
	}
}

// TestKeepAlive: what the engine does for its sockets is done for these.
func TestKeepAlive(t *testing.T) {
	var p Pumps
	nc, _ := overTLS(false).Make(t)
	nm, _ := relaytest.TCP(t, 0)
	on := func() (n int) {
		_ = descriptor(nc).Control(func(fd uintptr) { n = socketKeepAlive(t, int(fd)) })
		return n
	}
	for _, idle := range []time.Duration{time.Minute, 0} {
		_ = p.Carry(&relay.Session{Client: nc, Mailhost: nm, KeepAlive: idle},
			func(*relay.Session) error { return relay.ErrUnavailable })
		if got := on(); (got != 0) != (idle > 0) {
			t.Errorf("%v: SO_KEEPALIVE=%d", idle, got)
		}
	}
	_ = connection.Bottom(nc).Close()
}

func socketKeepAlive(t testing.TB, fd int) int {
	t.Helper()
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !testlog.Eventually(ok) {
		t.Fatalf("waited in vain: %s", what)
	}
}
