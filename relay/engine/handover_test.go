package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailproxy/internal/successor"
	"mailproxy/relay/handoff"
	"mailproxy/relay/tlsrecord"
	"mailproxy/tests/relaytest"
	"mailproxy/tests/testlog"
)

// packetPair returns the two ends of the conversation between a process and its successor.
func packetPair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	a, b, err := successor.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// scene is sessions of every kind, as their peers see them.
type scene struct {
	t        testing.TB
	talking  [][2]relaytest.Conn
	half     [2]relaytest.Conn // the client has ended its side
	stalled  [2]relaytest.Conn // the client does not read what the mailhost has sent
	sent     int64             // to stalled
	sessions int
}

// newScene gives an Engine sessions, plain and TLS, idle, half-closed, and with bytes that the client has
// not taken.
func newScene(t testing.TB, e *testEngine) *scene {
	t.Helper()
	s := &scene{t: t}
	tcp := relaytest.Kinds()[0]
	add := func(user string, ck relaytest.Kind) [2]relaytest.Conn {
		nc, fc := ck.Make(t)
		nm, fm := tcp.Make(t)
		x := testSession(user, nc, nm)
		x.HalfClose = time.Hour
		if err := e.Carry(context.Background(), x); err != nil {
			t.Fatal(err)
		}
		s.sessions++
		return [2]relaytest.Conn{fc, fm}
	}
	for i, k := range append(relaytest.TLSKinds()[:2], tcp, relaytest.Kinds()[2]) {
		p := add(fmt.Sprint("talking", i), k)
		relaytest.Exchange(t, p[0], p[1])
		s.talking = append(s.talking, p)
	}
	s.half = add("half", tcp)
	_, _ = io.WriteString(s.half[0], "QUIT\r\n")
	_ = s.half[0].CloseWrite()
	if got, err := io.ReadAll(s.half[1]); string(got) != "QUIT\r\n" || err != nil {
		t.Fatalf("%q %v", got, err)
	}
	s.stalled = add("stalled", relaytest.Kinds()[1])
	s.fill(e)
	return s
}

// fill sends to the client that does not read, until neither socket takes more and the session holds some. On
// a busy machine that may take turns: what looks full for a moment is not when the engine has had its time.
func (s *scene) fill(e *testEngine) {
	s.t.Helper()
	block := make([]byte, 64<<10)
	end := time.Now().Add(testlog.Patience)
	for full := false; !full; {
		if time.Now().After(end) {
			s.t.Fatalf("no session waits for its client: %+v", e.Totals())
		}
		_ = s.stalled[1].SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		for i := range block {
			block[i] = byte((s.sent + int64(i)) % 251)
		}
		n, err := s.stalled[1].Write(block)
		if s.sent += int64(n); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			s.t.Fatal(err)
		}
		full = n == 0 && e.Totals().Waiting == 1
	}
	_ = s.stalled[1].SetWriteDeadline(time.Time{})
}

// check finds every session alive and every byte where it belongs.
func (s *scene) check(e *testEngine) {
	s.t.Helper()
	for range 2 {
		for _, p := range s.talking {
			relaytest.Exchange(s.t, p[0], p[1])
			relaytest.Exchange(s.t, p[1], p[0])
		}
	}
	if got := e.Totals(); got.Sessions != s.sessions || got.Counted != s.sessions {
		s.t.Errorf("%+v, want %d sessions", got, s.sessions)
	}
	if e.Totals().Waiting != 1 {
		s.fill(e)
	}
	if err := e.ended(); len(err) > 0 {
		s.t.Errorf("sessions have ended: %v", err)
	}
}

// finish ends every session, with what it has held.
func (s *scene) finish(e *testEngine) {
	s.t.Helper()
	_, _ = io.WriteString(s.half[1], "+OK\r\n")
	s.half[1].Close()
	if got, err := io.ReadAll(s.half[0]); string(got) != "+OK\r\n" || err != nil {
		s.t.Errorf("half-closed: %q %v", got, err)
	}
	s.stalled[1].Close()
	var total int64
	buf := make([]byte, 256<<10)
	for {
		n, err := s.stalled[0].Read(buf)
		for i, b := range buf[:n] {
			if b != byte((total+int64(i))%251) {
				s.t.Fatalf("byte %d is %d", total+int64(i), b)
			}
		}
		if total += int64(n); err == io.EOF {
			break
		} else if err != nil {
			s.t.Fatal(err)
		}
	}
	if total != s.sent {
		s.t.Errorf("%d of %d bytes", total, s.sent)
	}
	s.stalled[0].Close()
	for _, p := range s.talking {
		p[0].Close()
		p[1].Close()
	}
	wait(s.t, "every session has ended", func() bool {
		return len(e.ended()) == s.sessions && e.Totals().Counted == 0
	})
	const stalled = "user=stalled, ip=[::ffff:192.0.2.7], port=[4711], mailhost=mail1, rcvd=0, sent=%d,"
	if want := fmt.Sprintf(stalled, s.sent); !strings.Contains(e.log(), want) {
		s.t.Errorf("no %q in\n%s", want, e.log())
	}
}

// relayMessages passes messages on until fault returns true for one, which is not passed on, and hangs up
// then.
func relayMessages(from, to *net.UnixConn, fault func(*handoff.Message) bool) {
	defer from.Close()
	defer to.Close()
	for {
		m, fds, err := handoff.Receive(from)
		if err == nil && !fault(m) {
			err = handoff.Send(to, m, fds...)
		} else if err == nil {
			err = io.EOF
		}
		handoff.CloseAll(fds)
		if err != nil {
			return
		}
	}
}

// TestHandOver: all sessions go to the successor, with their bytes and their time.
func TestHandOver(t *testing.T) {
	old, next := newTestEngine(t, Limits{}), newTestEngine(t, Limits{})
	s := newScene(t, old)
	handOver(t, old, next, s.sessions)
	if got := old.Totals(); got.Counted != 0 || got.Sessions != 0 || len(old.ended()) != 0 {
		t.Errorf("the old one has %+v, and these have ended: %v", got, old.ended())
	}
	s.check(next)
	s.finish(next)
}

func handOver(t testing.TB, old, next *testEngine, want int) {
	t.Helper()
	a, b := packetPair(t)
	done := make(chan error, 1)
	go func() {
		n, err := next.TakeOver(context.Background(), b)
		if err == nil && n != want {
			err = fmt.Errorf("%d sessions taken over", n)
		}
		done <- err
	}()
	err := awaitReady(context.Background(), a)
	n := 0
	if err == nil {
		n, err = old.handOver(context.Background(), a, func() { t.Error("the new process is killed") })
	}
	if err = errors.Join(err, <-done); err != nil || n != want {
		t.Fatalf("%d of %d sessions, %v", n, want, err)
	}
}

// TestHandOverFaults: the successor goes away at each message of the conversation. Every session goes on
// where it was; a later successor takes them all.
func TestHandOverFaults(t *testing.T) {
	e := newTestEngine(t, Limits{})
	s := newScene(t, e)
	for n := range 1000 { // the number of messages that arrive
		next := newTestEngine(t, Limits{})
		a, b := packetPair(t)
		c, d := packetPair(t)
		var left atomic.Int64
		left.Store(int64(n))
		var last atomic.Value
		go relayMessages(b, c, func(m *handoff.Message) bool { // from the old process
			last.Store(m.Verb)
			return left.Add(-1) < 0
		})
		go relayMessages(c, b, func(*handoff.Message) bool { return left.Load() < 0 })
		done := make(chan error, 1)
		go func() { _, err := next.TakeOver(context.Background(), d); done <- err }()
		err := awaitReady(context.Background(), a)
		killed := false
		if err == nil {
			_, err = e.handOver(context.Background(), a, func() { killed = true; a.CloseWrite() })
		}
		terr := <-done
		if err == nil { // everything has arrived
			if terr != nil || n < s.sessions || last.Load() != "GO" {
				t.Errorf("%d messages: %v, the last is %v", n, terr, last.Load())
			}
			s.check(next)
			s.finish(next)
			return
		}
		if terr == nil || !killed || next.Totals().Sessions != 0 {
			t.Fatalf("%d messages: old: %v, new: %v, killed: %v", n, err, terr, killed)
		}
		s.check(e)
	}
	t.Fatal("the sessions are never handed over")
}

// TestHandOverPanic: a fault while a session is described ends the attempt, and every session goes on.
func TestHandOverPanic(t *testing.T) {
	e := newTestEngine(t, Limits{})
	s := newScene(t, e)
	names := map[*session]string{}
	change := func(to func(s *session) string) {
		for _, l := range e.loops {
			l.call(func() {
				for _, s := range l.slots {
					if s != nil {
						s.names = to(s)
					}
				}
			})
		}
	}
	change(func(s *session) string { names[s] = s.names; return "damaged" })
	a, b := packetPair(t)
	if _, err := e.handOver(t.Context(), a, func() { b.Close() }); !errors.Is(err, errPanic) {
		t.Errorf("%v", err)
	}
	change(func(s *session) string { return names[s] })
	s.check(e)
	s.finish(e)
	if log := e.log(); !strings.Contains(log, "ERR: panic in a hand-over, which ends: ") {
		t.Errorf("log:\n%s", log)
	}
}

// TestHandOverInterrupted: a signal ends the attempt, and every session goes on.
func TestHandOverInterrupted(t *testing.T) {
	e := newTestEngine(t, Limits{})
	s := newScene(t, e)
	a, b := packetPair(t)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	begun := time.Now()
	if _, err := e.handOver(ctx, a, func() { b.Close() }); err == nil {
		t.Error("somebody has taken the sessions")
	}
	if took := time.Since(begun); took > testlog.Patience {
		t.Errorf("it took %v", took)
	}
	s.check(e)
	s.finish(e)
}

// TestHandOverBusy: 50 successors one after the other while every session is busy, each byte counted.
func TestHandOverBusy(t *testing.T) {
	e := newTestEngine(t, Limits{PerUser: 1})
	const sessions, rounds = 12, 50
	var stop atomic.Bool
	var busy sync.WaitGroup
	var exchanged [sessions]int64
	kinds := append(relaytest.TLSKinds()[:2], relaytest.Kinds()...)
	for i := range sessions {
		nc, fc := kinds[i%len(kinds)].Make(t)
		nm, fm := relaytest.TCP(t, 0)
		if err := e.Carry(context.Background(), testSession(fmt.Sprint("user", i), nc, nm)); err != nil {
			t.Fatal(err)
		}
		busy.Go(func() {
			defer fm.Close()
			defer fc.Close()
			out, in := make([]byte, 40_000), make([]byte, 40_000)
			for ; !stop.Load(); exchanged[i]++ {
				for n := range out {
					out[n] = byte(exchanged[i] + int64(n))
				}
				from, to := fc, relaytest.Conn(fm)
				if exchanged[i]%2 == 1 {
					from, to = to, from
				}
				written := make(chan struct{})
				go func() { defer close(written); _, _ = from.Write(out) }()
				_, err := io.ReadFull(to, in)
				<-written
				if err != nil || string(in) != string(out) {
					t.Errorf("session %d, exchange %d: %v", i, exchanged[i], err)
					return
				}
			}
		})
	}
	for range rounds {
		next := newTestEngine(t, Limits{PerUser: 1})
		handOver(t, e, next, sessions)
		e = next
	}
	nc, _ := relaytest.TCP(t, 0)
	nm, _ := relaytest.TCP(t, 0)
	if err := e.Carry(context.Background(), testSession("user1", nc, nm)); err == nil {
		t.Error("limits are forgotten")
	}
	stop.Store(true)
	busy.Wait()
	wait(t, "every session has ended", func() bool {
		return len(e.ended()) == sessions && e.Totals().Counted == 0
	})
	for i, n := range exchanged {
		want := fmt.Sprintf("user=user%d, ip=[::ffff:192.0.2.7], port=[4711], mailhost=mail1, rcvd=%d, sent=%d,",
			i, (n+1)/2*40_000, n/2*40_000)
		if !strings.Contains(e.log(), want) {
			t.Errorf("no %q", want)
		}
	}
}

// TestHalfClosedKeepsItsLimit: successors do not give a half-closed session more time.
func TestHalfClosedKeepsItsLimit(t *testing.T) {
	e := newTestEngine(t, Limits{})
	nc, fc := relaytest.TCP(t, 0)
	nm, fm := relaytest.TCP(t, 0)
	x := testSession("ann", nc, nm)
	x.HalfClose = 2 * time.Second
	if err := e.Carry(context.Background(), x); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	_ = fc.CloseWrite()
	if got, err := io.ReadAll(fm); len(got) > 0 || err != nil {
		t.Fatal(got, err)
	}
	for len(e.ended()) == 0 && time.Since(begun) < testlog.Patience {
		<-time.After(300 * time.Millisecond)
		next := newTestEngine(t, Limits{})
		a, b := packetPair(t)
		done := make(chan struct{})
		go func() { defer close(done); _, _ = next.TakeOver(context.Background(), b) }()
		if err := awaitReady(context.Background(), a); err != nil {
			t.Fatal(err)
		}
		n, err := e.handOver(context.Background(), a, func() {})
		if err != nil {
			t.Fatal(err)
		}
		<-done
		if n == 0 {
			break
		}
		e = next
	}
	if took := time.Since(begun); took < 1800*time.Millisecond || took > testlog.Patience {
		t.Errorf("with a limit of 2 s it has ended after %v", took)
	}
}

// TestBrokenStays: a session whose client has broken the TLS protocol after what the mailhost has not taken
// yet stays: a successor would tell the mailhost of an orderly end.
func TestBrokenStays(t *testing.T) {
	old, next := newTestEngine(t, Limits{}), newTestEngine(t, Limits{})
	nc, fc := relaytest.TLSKinds()[0].Make(t)
	nm, fm := relaytest.TLSKinds()[0].Make(t)
	if err := old.Carry(context.Background(), testSession("ann", nc, nm)); err != nil {
		t.Fatal(err)
	}
	relaytest.Exchange(t, fc, fm)
	old.each(func(_ *loop, s *session) {
		s.flows[client].eof, s.flows[client].err = true, tlsrecord.ErrRecord
	})
	handOver(t, old, next, 0)
	_ = fc.Close()
	if _, err := io.ReadAll(fm); err == nil {
		t.Error("the mailhost is told of an orderly end")
	}
}

// TestFreezeStuckLoop: a loop that does not answer keeps nobody: no session is handed over, those of the
// other loop go on, and it does nothing late.
func TestFreezeStuckLoop(t *testing.T) {
	t.Parallel() // it waits most of the time
	e := newTestEngine(t, Limits{})
	s := newScene(t, e)
	stuck := make(chan struct{})
	e.loops[1].post(func() { <-stuck })
	f, err := e.freeze(5 * time.Second) // for loop 0 as well, on a machine that is slow
	if !errors.Is(err, errLoopStuck) || len(f.byLoop[0]) == 0 || len(f.byLoop[1]) != 0 {
		t.Fatalf("%d and %d sessions stand still: %v", len(f.byLoop[0]), len(f.byLoop[1]), err)
	}
	f.resume()
	close(stuck)
	e.each(func(_ *loop, s *session) {
		if s.frozen {
			t.Error("a session stands still")
		}
	})
	s.check(e)
	s.finish(e)
}
