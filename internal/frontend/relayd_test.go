package frontend

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailproxy/internal/launch"
	"mailproxy/internal/login"
	"mailproxy/relay/engine"
	"mailproxy/relay/handoff"
	"mailproxy/tests/logintest"
	"mailproxy/tests/testlog"
)

// fakeRelayd is a socket that remembers the first message of each caller, without LOGIN_US, and answers a
// TAKE.
type fakeRelayd struct {
	path     string
	messages chan string
	answers  []string // one a message of a session
}

var loginMicroseconds = regexp.MustCompile(`LOGIN_US=\d+\n`)

func newFakeRelayd(t *testing.T, answers ...string) *fakeRelayd {
	t.Helper()
	r := &fakeRelayd{messages: make(chan string, 20), answers: answers}
	r.path = listen(t, r.serve)
	return r
}

// listen has serve called with each connection to the socket that it returns, one after the other.
func listen(t *testing.T, serve func(net.Conn)) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "relayd")
	l, err := net.Listen("unixpacket", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
		}
	}()
	return path
}

func (r *fakeRelayd) serve(c net.Conn) {
	defer c.Close()
	p := make([]byte, 8192)
	n, err := c.Read(p)
	if err != nil {
		return
	}
	text := string(p[:n])
	if !loginMicroseconds.MatchString(text) {
		text = "without LOGIN_US: " + text
	}
	r.messages <- loginMicroseconds.ReplaceAllString(text, "")
	for _, answer := range r.answers {
		if _, err := c.Write([]byte(answer)); err != nil {
			return
		}
		if n, err := c.Read(p); err != nil || n == 0 {
			return
		}
	}
}

// all returns what has come, up to n messages, and a further one if there is one too many.
func (r *fakeRelayd) all(n int) (got []string) {
	for range n + 1 {
		wait := testlog.Patience
		if len(got) >= n {
			wait = 50 * time.Millisecond
		}
		select {
		case m := <-r.messages:
			got = append(got, m)
		case <-time.After(wait):
		}
	}
	return got
}

// A session tells relayd of its login. When relayd does not take it after all, a report follows, whether this
// process can go on with the session or not; when relayd refuses it, it has counted that.
func TestReportSession(t *testing.T) {
	t.Parallel()
	const ok = "REPORT\nFAILED=down/connect\nLOGIN_MECHANISM=LOGIN\nLOGIN_TLS=none\n" +
		"MAILHOST=up\nPROTOCOL=IMAP\nRESULT=ok\n\n"
	for _, test := range []struct {
		name    string
		answers []string
		reports []string
	}{
		{"taken", []string{"OK\n\n"}, nil},
		{"limit", []string{"LIMIT\nREASON=full house\n\n"}, nil},
		{"full", []string{"FULL\n\n"}, []string{ok}},
		{"in vain", []string{"FAIL\nREASON=no\n\n"}, []string{ok}},
	} {
		r := newFakeRelayd(t, test.answers...)
		w := newWorld(t, imap, "IMAP_PROXY=1", "RELAY_SOCKET="+r.path)
		w.auth.Add("bob", "mailhost=down;up")
		w.Hosts = map[string][]string{"down": {"127.0.0.8"}, "up": {"127.0.0.2"}}
		w.Servers["127.0.0.2:143"] = logintest.Says(nil)
		w.server.DropRoot = func(string) error { return errors.New("not today") }
		o, err := w.tryLogin(t.Context(), password("bob", "secret"))
		if err == nil {
			_ = w.relay(context.Background(), o)
		}
		got := r.all(1 + len(test.reports))
		session := regexp.MustCompile(`^CARRY\nFAILED=down/connect\n(.*\n)*LOGIN_TLS=none\n(.*\n)*MAILHOST=up\n`)
		if len(got) == 0 || !session.MatchString(got[0]) || !slices.Equal(got[1:], test.reports) {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}

// engineRelayd is a relayd of one engine.
func engineRelayd(t *testing.T, limits engine.Limits) (path string, e *engine.Engine) {
	t.Helper()
	e, err := engine.New(engine.Config{Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Shutdown(context.Background()) })
	return listen(t, func(c net.Conn) {
		defer c.Close()
		u := c.(*net.UnixConn)
		m, fds, err := handoff.Receive(u)
		if err == nil {
			if _, err = e.TakeMessage(u, m, fds); err != nil {
				_ = handoff.Refuse(u, err)
			}
		}
	}), e
}

// hidden is a connection that only this process can serve.
type hidden struct{ launch.Conn }

// TestRelaydPumped: relayd has the sessions whose connections it cannot have: its limits hold and its list
// has them. This process gives up root and stays with the connection until the session is over.
func TestRelaydPumped(t *testing.T) {
	path, e := engineRelayd(t, engine.Limits{PerUser: 1})
	begin := func() (*world, *net.TCPConn, error) {
		w := newWorld(t, imap, "RELAY_SOCKET="+path, "PROXY_USER=someone")
		w.Client = hidden{w.Client}
		server, conn := tcpPair(t)
		return w, server, w.relay(t.Context(), bobAt(conn))
	}
	w, server, err := begin()
	if err != nil {
		t.Fatalf("%v\n%s", err, w.log)
	}
	listed := func() bool { all := e.List(); return len(all) == 1 && all[0].Info.User == "bob" }
	if !testlog.Eventually(listed) || !slices.Equal(w.dropped, []string{"someone"}) {
		t.Errorf("relayd has %+v, root dropped %v", e.List(), w.dropped)
	}
	second, _, err := begin()
	if !errors.Is(err, login.ErrTemporary) || !strings.Contains(second.log.String(), "1 sessions of this user") {
		t.Errorf("beyond the limit: %v\n%s", err, second.log)
	}
	waited := make(chan int, 1)
	go func() { waited <- w.carrier.Wait(t.Context()) }()
	_, _ = io.WriteString(w.client, "a2 NOOP\r\n")
	text := make([]byte, 9)
	if _, err := io.ReadFull(server, text); err != nil || string(text) != "a2 NOOP\r\n" {
		t.Errorf("mailhost got %q, %v", text, err)
	}
	select {
	case <-waited:
		t.Error("the process does not wait for the session")
	default:
	}
	server.Close()
	if text, err := io.ReadAll(w.client); string(text) != "a1 OK\r\n" || err != nil {
		t.Errorf("client got %q, %v", text, err)
	}
	w.client.Close()
	if status := <-waited; status != 0 {
		t.Errorf("status %d", status)
	}
}

// TestRelaydPumpedRoot: nothing of a session is served with root rights; one that relayd has already ends.
func TestRelaydPumpedRoot(t *testing.T) {
	path, e := engineRelayd(t, engine.Limits{})
	w := newWorld(t, imap, "RELAY_SOCKET="+path)
	w.server.DropRoot = func(string) error { return syscall.EPERM }
	w.Client = hidden{w.Client}
	server, conn := tcpPair(t)
	if err := w.relay(t.Context(), bobAt(conn)); !errors.Is(err, login.ErrTemporary) {
		t.Error(err)
	}
	if text, err := io.ReadAll(server); len(text) > 0 || err != nil {
		t.Errorf("mailhost got %q, %v", text, err)
	}
	w.Farewell("a1 NO")
	w.Client.Close()
	if text, err := io.ReadAll(w.client); string(text) != "a1 NO\r\n" || err != nil {
		t.Errorf("client got %q, %v", text, err)
	}
	if !testlog.Eventually(func() bool { return e.Totals().Counted == 0 }) {
		t.Error("relayd still has the session")
	}
	if !strings.Contains(w.log.String(), "ERR: giving up root rights: operation not permitted") {
		t.Error(w.log)
	}
}

// A relayd that does not accept, and none at all, delay no login.
func TestReportToNobody(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("unixpacket", filepath.Join(t.TempDir(), "silent"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	start := time.Now()
	for range 20 { // an answer would be waited for for seconds, each time
		for _, socket := range []string{l.Addr().String(), filepath.Join(t.TempDir(), "none"), ""} {
			w := newWorld(t, imap, "RELAY_SOCKET="+socket)
			if _, err := w.tryLogin(t.Context(), password("bob", "x")); !errors.Is(err, login.ErrRefused) {
				t.Error(err)
			}
		}
	}
	if took := time.Since(start); took > testlog.Patience {
		t.Errorf("it took %v", took)
	}
}
