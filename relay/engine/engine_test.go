package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/relay"
	"mailproxy/tests/relaytest"
	"mailproxy/tests/testlog"
	"mailproxy/tests/testprocess"
)

// testEngine is an Engine that notes what it says.
type testEngine struct {
	*Engine
	mu    sync.Mutex
	lines []string
	ends  []error
	stats []relay.Stats
}

func newTestEngine(t testing.TB, limits Limits) *testEngine {
	t.Helper()
	return startTestEngine(t, Config{Limits: limits})
}

func startTestEngine(t testing.TB, c Config) *testEngine {
	t.Helper()
	e := &testEngine{}
	c.Loops, c.Log = 2, func(line string) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.lines = append(e.lines, line)
	}
	c.Ended = func(_ relay.Info, st relay.Stats, err error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.ends, e.stats = append(e.ends, err), append(e.stats, st)
	}
	var err error
	e.Engine, err = New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Shutdown(context.Background()) })
	return e
}

func (e *testEngine) log() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.lines, "\n")
}

func (e *testEngine) ended() []error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]error(nil), e.ends...)
}

func testInfo(user string) relay.Info {
	return relay.Info{User: user, Protocol: "IMAP", RemoteIP: "::ffff:192.0.2.7", RemotePort: "4711",
		Mailhost: "mail1", Start: time.Now()}
}

func testSession(user string, c, m relaytest.Conn) *relay.Session {
	return &relay.Session{Client: c, Mailhost: m, Info: testInfo(user), HalfClose: time.Minute}
}

// joiner carries each session by an Engine of its own, as a front end does that serves one connection.
func joiner(t testing.TB, c, m relaytest.Conn, halfClose time.Duration) func() {
	return join(t, newTestEngine(t, Limits{}), c, m, halfClose)
}

func join(t testing.TB, e *testEngine, c, m relaytest.Conn, halfClose time.Duration) func() {
	t.Helper()
	s := testSession("ann", c, m)
	s.HalfClose = halfClose
	if err := e.Carry(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return func() { _ = e.Wait(context.Background()) }
}

func TestSessions(t *testing.T) { relaytest.Run(t, relaytest.Kinds(), relaytest.Kinds(), joiner) }

func TestSessionsTLS(t *testing.T) {
	tcp := relaytest.Kinds()[:1]
	relaytest.Run(t, relaytest.TLSKinds(), tcp, joiner)
	relaytest.Run(t, relaytest.TLSKinds()[:1], []relaytest.Kind{relaytest.TLSMailhost(tls.VersionTLS13)}, joiner)
	relaytest.Run(t, tcp, []relaytest.Kind{relaytest.TLSMailhost(tls.VersionTLS12)}, joiner)
}

// In a process that has other work the loops wait in another way.
func TestSessionsShared(t *testing.T) {
	tcp := relaytest.Kinds()[:1]
	relaytest.Run(t, tcp, tcp, func(t testing.TB, c, m relaytest.Conn, halfClose time.Duration) func() {
		return join(t, startTestEngine(t, Config{Shared: true}), c, m, halfClose)
	})
}

func TestHalfClosed(t *testing.T) {
	tcp := relaytest.Kinds()[:1]
	relaytest.HalfClosed(t, tcp, tcp, joiner)
	relaytest.HalfClosed(t, relaytest.TLSKinds()[:1], tcp, joiner)
}

// TestCounts: bytes are counted where they come from, the answer to the login is not, and nothing is left
// open.
func TestCounts(t *testing.T) {
	e := newTestEngine(t, Limits{})
	before := testprocess.OpenFiles(t)
	for range 20 {
		nc, fc := relaytest.TCP(t, 0)
		nm, fm := relaytest.Unix(t, 0)
		s := testSession("ann", nc, nm)
		s.First = []byte("a OK\r\n")
		if err := e.Carry(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = fc.Write(make([]byte, 200_000))
			_ = fc.CloseWrite()
		}()
		if n, err := io.Copy(io.Discard, fm); n != 200_000 || err != nil {
			t.Fatal(n, err)
		}
		fm.Close()
		if got, err := io.ReadAll(fc); string(got) != "a OK\r\n" || err != nil {
			t.Fatalf("%q %v", got, err)
		}
		fc.Close()
	}
	wait(t, "all sessions end", func() bool { return len(e.ended()) == 20 })
	line := regexp.MustCompile(`INFO: LOGOUT, user=ann, ip=\[::ffff:192\.0\.2\.7\], port=\[4711\], ` +
		`mailhost=mail1, rcvd=200000, sent=0, time=\d+, protocol=IMAP\n`)
	if n := len(line.FindAllString(e.log()+"\n", -1)); n != 20 {
		t.Errorf("%d right lines:\n%s", n, e.log())
	}
	wait(t, "descriptors", func() bool { return testprocess.OpenFiles(t) <= before })
}

// TestLimits: what each limit is against, and that a session that ends makes room.
func TestLimits(t *testing.T) {
	for _, tc := range []struct {
		name   string
		limits Limits
		first  relay.Info
		second relay.Info
		err    error
	}{
		{"none", Limits{}, relay.Info{User: "ann"}, relay.Info{User: "ann"}, nil},
		{"in all", Limits{Sessions: 1}, relay.Info{User: "ann"}, relay.Info{User: "bob"}, relay.ErrLimit},
		{"user", Limits{PerUser: 1}, relay.Info{User: "ann"}, relay.Info{User: "ann"}, relay.ErrLimit},
		{"another user", Limits{PerUser: 1}, relay.Info{User: "ann"}, relay.Info{User: "bob"}, nil},
		{"address", Limits{PerAddress: 1}, relay.Info{RemoteIP: "::ffff:192.0.2.7"},
			relay.Info{RemoteIP: "192.0.2.7"}, relay.ErrLimit},
		{"another address", Limits{PerAddress: 1}, relay.Info{RemoteIP: "192.0.2.7"},
			relay.Info{RemoteIP: "192.0.2.8"}, nil},
		{"IPv6 /64", Limits{PerAddress: 1}, relay.Info{RemoteIP: "2001:db8:1:2::1"},
			relay.Info{RemoteIP: "2001:db8:1:2:ffff::9"}, relay.ErrLimit},
		{"another /64", Limits{PerAddress: 1}, relay.Info{RemoteIP: "2001:db8:1:2::1"},
			relay.Info{RemoteIP: "2001:db8:1:3::1"}, nil},
		{"descriptors", Limits{Capacity: 1}, relay.Info{}, relay.Info{}, relay.ErrUnavailable},
	} {
		e := newTestEngine(t, tc.limits)
		carry := func(i relay.Info) (far []relaytest.Conn, err error) {
			nc, fc := relaytest.TLSKinds()[0].Make(t)
			nm, fm := relaytest.TCP(t, 0)
			s := testSession("", nc, nm)
			s.Info = i
			err = e.Carry(t.Context(), s)
			if err != nil { // the session is the caller's as it was
				if _, werr := io.WriteString(s.Client, "a NO [LIMIT]\r\n"); werr != nil {
					t.Errorf("%s: %v", tc.name, werr)
				}
				if got, rerr := io.ReadAll(io.LimitReader(fc, 14)); string(got) != "a NO [LIMIT]\r\n" {
					t.Errorf("%s: the client reads %q, %v", tc.name, got, rerr)
				}
			}
			return []relaytest.Conn{fc, fm}, err
		}
		first, err := carry(tc.first)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if _, err := carry(tc.second); !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.err)
		}
		r, refused := e.Totals().Refused, int64(0)
		if tc.err != nil {
			refused = 1
		}
		if limits := r.All + r.Address + r.User; limits+r.Descriptors != refused ||
			errors.Is(tc.err, relay.ErrLimit) && limits != 1 {
			t.Errorf("%s: counted as %+v", tc.name, r)
		}
		if tc.err == nil {
			continue
		}
		for _, c := range first {
			c.Close()
		}
		wait(t, "room", func() bool { return e.Totals().Counted == 0 })
		if _, err := carry(tc.second); err != nil {
			t.Errorf("%s: after the first has ended: %v", tc.name, err)
		}
	}
}

// TestListAndKick: what administrators see and end.
func TestListAndKick(t *testing.T) {
	e := newTestEngine(t, Limits{})
	var far []relaytest.Conn
	for _, user := range []string{"ann", "bob", "ann", "ann"} {
		nc, fc := relaytest.TCP(t, 0)
		nm, fm := relaytest.TCP(t, 0)
		if err := e.Carry(t.Context(), testSession(user, nc, nm)); err != nil {
			t.Fatal(err)
		}
		far = append(far, fc, fm)
	}
	if got := e.Totals(); got.Sessions != 4 || got.Counted != 4 {
		t.Errorf("%+v", got)
	}
	if got := e.List(); len(got) != 4 || got[0].Info.Mailhost != "mail1" {
		t.Errorf("%+v", got)
	}
	if n := e.Kick(func(i relay.Info) bool { return i.User == "ann" }); n != 3 {
		t.Errorf("%d kicked", n)
	}
	for _, n := range []int{0, 1, 4, 5, 6, 7} {
		if _, err := far[n].Read(make([]byte, 1)); err == nil {
			t.Errorf("connection %d of a kicked session is open", n)
		}
	}
	wait(t, "three ended", func() bool { return len(e.ended()) == 3 && e.Totals().Counted == 1 })
	if got := e.Totals(); got.Taken != 4 || got.Ended != 3 || got.Broken != 3 || e.Changes() != 7 {
		t.Errorf("%+v, %d changes", got, e.Changes())
	}
	for _, err := range e.ended() {
		if !errors.Is(err, relay.ErrKicked) {
			t.Error(err)
		}
	}
}

// TestPanic: a fault in one session ends that session, with a stack in the log, and no other.
func TestPanic(t *testing.T) {
	e := newTestEngine(t, Limits{})
	var bad *session
	for _, l := range e.loops {
		l.call(func() {
			l.onEvent = func(s *session) {
				if s.info().User == "mallory" {
					bad.flows[0].moved = 1 // nil pointer
				}
			}
		})
	}
	type pair struct{ c, m relaytest.Conn }
	var all []pair
	for _, user := range []string{"ann", "mallory", "bob", "carol"} {
		nc, fc := relaytest.TCP(t, 0)
		nm, fm := relaytest.TCP(t, 0)
		if err := e.Carry(t.Context(), testSession(user, nc, nm)); err != nil {
			t.Fatal(err)
		}
		all = append(all, pair{fc, fm})
	}
	_, _ = io.WriteString(all[1].c, "x")
	if _, err := all[1].m.Read(make([]byte, 1)); err == nil {
		t.Error("the session goes on")
	}
	for _, n := range []int{0, 2, 3} {
		relaytest.Exchange(t, all[n].c, all[n].m)
	}
	wait(t, "its end", func() bool { return len(e.ended()) == 1 })
	log := e.log()
	if !strings.Contains(log, "ERR: panic in a session, which ends: ") ||
		!strings.Contains(log, "engine_test.go:") {
		t.Errorf("log:\n%s", log)
	}
}

func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !testlog.Eventually(ok) {
		t.Fatalf("waited in vain: %s", what)
	}
}
