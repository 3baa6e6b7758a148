package engine

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"mailproxy/internal/connection"
	"mailproxy/relay"
	"mailproxy/relay/tlsrecord"
	"mailproxy/tests/relaytest"
	"mailproxy/tests/testlog"
)

// endingKinds are the kinds of clients whose session ends in each way.
func endingKinds() []relaytest.Kind {
	return []relaytest.Kind{relaytest.Kinds()[0], relaytest.Kinds()[1], relaytest.TLSKinds()[0],
		relaytest.TLSKinds()[1]}
}

// TestMailhostEnds: the mailhost's end is the session's end. A slow client that keeps sending, and that
// never closes its side, gets every byte, the end of the stream, and no reset.
func TestMailhostEnds(t *testing.T) {
	for _, kind := range endingKinds() {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			e := newTestEngine(t, Limits{})
			nc, fc := kind.Make(t)
			nm, fm := relaytest.TCP(t, 0)
			x := testSession("ann", nc, nm)
			x.HalfClose = time.Hour
			if err := e.Carry(t.Context(), x); err != nil {
				t.Fatal(err)
			}
			// What its kernel has taken is the client's to read within a second.
			if err := connection.Bottom(fc).(*net.TCPConn).SetReadBuffer(128 << 10); err != nil {
				t.Fatal(err)
			}
			relaytest.SlowClient(t, fc, fm)
			ended := time.Now()
			wait(t, "the session's end", func() bool { return len(e.ended()) == 1 })
			if took := time.Since(ended); took > testlog.Patience {
				t.Errorf("the client's open side kept the session for %v", took)
			}
			if err := e.ended()[0]; err != nil {
				t.Errorf("the session ended with %v", err)
			}
		})
	}
}

// TestClosingLooked: a session whose client takes nothing any more is looked at often at first, and then once
// a second: there may be thousands, when a network is down.
func TestClosingLooked(t *testing.T) {
	e := newTestEngine(t, Limits{})
	nc, fc := relaytest.TCP(t, 0)
	_, _ = nc.SetWriteBuffer(1<<20), fc.SetReadBuffer(4096)
	nm, fm := relaytest.TCP(t, 0)
	if err := e.Carry(t.Context(), testSession("ann", nc, nm)); err != nil {
		t.Fatal(err)
	}
	_, _ = fm.Write(make([]byte, 128<<10)) // more than the client takes, less than its socket
	fm.Close()
	wait(t, "it is looked at less often", func() (yes bool) {
		e.each(func(l *loop, s *session) { yes = s.closing != nil && time.Until(l.tick) > 2*closeTick })
		return yes
	})
}

// TestShutdown: nothing is written into a stream, what a session holds is delivered, and both sides are
// closed.
func TestShutdown(t *testing.T) {
	for _, kind := range endingKinds() {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			e := newTestEngine(t, Limits{})
			nc, fc := kind.Make(t)
			nm, fm := relaytest.TCP(t, 0)
			if err := e.Carry(t.Context(), testSession("ann", nc, nm)); err != nil {
				t.Fatal(err)
			}
			relaytest.Exchange(t, fm, fc)
			relaytest.Exchange(t, fc, fm)
			done := make(chan struct{})
			begun := time.Now()
			go func() { e.Shutdown(context.Background()); close(done) }()
			for _, c := range []relaytest.Conn{fc, fm} {
				if rest, err := io.ReadAll(c); len(rest) > 0 || errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%q, %v", rest, err)
				}
			}
			<-done
			if took := time.Since(begun); took > testlog.Patience {
				t.Errorf("it took %v", took)
			}
			if ends := e.ended(); len(ends) != 1 || !errors.Is(ends[0], relay.ErrStopped) {
				t.Errorf("%v", ends)
			}
		})
	}
}

// TestShutdownMeanwhile: a session that comes while a loop ends is ended and accounted for as the others.
func TestShutdownMeanwhile(t *testing.T) {
	e := newTestEngine(t, Limits{})
	nc, fc := relaytest.TCP(t, 0)
	nm, fm := relaytest.TCP(t, 0)
	carried := make(chan error, 1)
	for _, l := range e.loops {
		l.post(func() {
			l.stopped = true
			if l == e.loops[1] { // it gets the first session
				carried <- e.Carry(t.Context(), testSession("ann", nc, nm))
			}
		})
	}
	if err := <-carried; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := e.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range []relaytest.Conn{fc, fm} {
		if rest, err := io.ReadAll(c); len(rest) > 0 || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
	}
	if ends := e.ended(); len(ends) != 1 || !errors.Is(ends[0], relay.ErrStopped) {
		t.Errorf("%v", ends)
	}
}

// TestShutdownDelivers: what was read from one side and not taken by the other is delivered when it is
// taken in time.
func TestShutdownDelivers(t *testing.T) {
	e := newTestEngine(t, Limits{})
	nc, fc := relaytest.TCP(t, 64<<10)
	nm, fm := relaytest.TCP(t, 64<<10)
	if err := e.Carry(t.Context(), testSession("ann", nc, nm)); err != nil {
		t.Fatal(err)
	}
	block := bytes.Repeat([]byte("x"), 16<<10)
	wait(t, "the session holds something", func() bool {
		_ = fm.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		for {
			if _, err := fm.Write(block); errors.Is(err, os.ErrDeadlineExceeded) {
				return e.Totals().Waiting == 1
			} else if err != nil {
				t.Fatal(err)
			}
		}
	})
	go e.Shutdown(context.Background())
	got, err := io.ReadAll(fc)
	if err != nil || len(got) == 0 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	wait(t, "the end", func() bool { return len(e.ended()) == 1 })
	e.mu.Lock()
	defer e.mu.Unlock()
	if st := e.stats[0]; st.FromMailhost != int64(len(got)) {
		t.Errorf("%d bytes were written to the client, which got %d", st.FromMailhost, len(got))
	}
}

// TestForgedRecord: a record that does not authenticate ends the session with a fatal alert in both
// directions, after what came before it. Without TLS the other side is reset: nobody is told of an orderly
// end.
func TestForgedRecord(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, mailhostTLS := range []bool{false, true} {
			e := newTestEngine(t, Limits{})
			nc, fc := relaytest.TLS(version, 0, true).Make(t)
			nm, fm := relaytest.Kinds()[0].Make(t)
			if mailhostTLS {
				nm, fm = relaytest.TLSMailhost(tls.VersionTLS13).Make(t)
			}
			if err := e.Carry(t.Context(), testSession("mallory", nc, nm)); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(fc, "a NOOP\r\n")
			forged := append([]byte{23, 3, 3, 0, 40}, make([]byte, 40)...)
			if _, err := fc.(*tls.Conn).NetConn().Write(forged); err != nil {
				t.Fatal(err)
			}
			var alert tls.AlertError
			if _, err := fc.Read(make([]byte, 1)); !errors.As(remote(err), &alert) || alert != 20 {
				t.Errorf("%x: the forger reads %v", version, err)
			}
			got, err := io.ReadAll(fm)
			if string(got) != "a NOOP\r\n" {
				t.Errorf("%x: the mailhost reads %q", version, got)
			}
			if mailhostTLS && (!errors.As(remote(err), &alert) || alert != 80) ||
				!mailhostTLS && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%x, TLS %v: the mailhost is told %v", version, mailhostTLS, err)
			}
			wait(t, "the end", func() bool { return len(e.ended()) == 1 })
			if err := e.ended()[0]; !errors.Is(err, tlsrecord.ErrRecord) {
				t.Errorf("%x: the session ended with %v", version, err)
			}
		}
	}
}

// remote is the alert in an error of crypto/tls, which is of a type of its own.
func remote(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		for n := range 256 {
			if op.Err.Error() == tls.AlertError(n).Error() {
				return tls.AlertError(n)
			}
		}
	}
	return err
}

// TestKeyUpdatesUnread: a peer that asks for key updates and reads nothing, between data so that no limit
// on records without data is met, makes the session hold no more than before, however often it asks.
func TestKeyUpdatesUnread(t *testing.T) {
	e := newTestEngine(t, Limits{})
	near, far := relaytest.TCP(t, 0)
	_ = near.SetWriteBuffer(4096)
	_ = far.SetReadBuffer(4096)
	nc, client := asker(t, near, far)
	nm, fm := relaytest.TCP(t, 0)
	if err := e.Carry(t.Context(), testSession("mallory", nc, nm)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, fm) }()
	ask := func(n int) {
		for range n {
			client.ask()
		}
		client.flush(t)
	}
	held := func() (n int) {
		e.each(func(_ *loop, s *session) { n = cap(s.legs[0].out) + cap(s.legs[0].in) })
		return n
	}
	ask(5_000) // answers fill every buffer on their way
	wait(t, "the engine has it all", func() bool {
		all := e.List()
		return len(all) == 1 && all[0].Stats.FromClient == 5_000
	})
	before := held()
	heap := func() uint64 {
		var mem runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&mem)
		return mem.HeapAlloc
	}
	first := heap()
	for range 5 {
		ask(5_000)
	}
	wait(t, "no more memory than before", func() bool { return heap() < first+1<<20 })
	wait(t, "the session holds no more than before", func() bool { return held() <= before+1024 })
	if len(e.ended()) != 0 {
		t.Errorf("the session has ended: %v", e.ended())
	}
}

// attacker is a TLS 1.3 client that knows its keys.
type attacker struct {
	codec *tlsrecord.Codec
	conn  net.Conn
	raw   []byte
}

// asker makes a connection whose client can send what crypto/tls does not.
func asker(t *testing.T, near, far *net.TCPConn) (*tlsrecord.Conn, *attacker) {
	t.Helper()
	s := tlsrecord.Server(near, &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate(t)},
		MinVersion: tls.VersionTLS13})
	c := tlsrecord.Client(far, &tls.Config{InsecureSkipVerify: true})
	failed := make(chan error, 1)
	go func() { failed <- s.Handshake() }()
	if err := errors.Join(c.Handshake(), <-failed); err != nil {
		t.Fatal(err)
	}
	d, err := c.Detach()
	if err != nil {
		t.Fatal(err)
	}
	return s, &attacker{codec: d.Codec, conn: far}
}

// ask adds a key update that asks for another, and one byte of data.
func (a *attacker) ask() {
	var err error
	if a.raw, err = a.codec.SealKeyUpdate(a.raw, true); err == nil {
		a.raw, err = a.codec.Seal(a.raw, []byte("x"))
	}
	if err != nil {
		panic(err)
	}
}

func (a *attacker) flush(t *testing.T) {
	t.Helper()
	_ = a.conn.SetWriteDeadline(time.Now().Add(testlog.Patience))
	for part := range slices.Chunk(a.raw, 64<<10) {
		if _, err := a.conn.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	a.raw = nil
}
