package frontend

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/launch"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
	"mailproxy/tests/logintest"
)

// bobAt is a login of bob at a mailhost.
func bobAt(conn launch.Conn) *login.Outcome {
	return &login.Outcome{
		Account:  &authlib.Account{Address: "bob"},
		Mailhost: &mailhost.Conn{Host: "a", Conn: conn, Answer: []byte("a1 OK\r\n")},
	}
}

// Both directions, what was pipelined, half-close, and the line at the end.
func TestRelay(t *testing.T) {
	w := newWorld(t, imap, "RELAY_SOCKET=/nonexistent", "PROXY_USER=someone")
	server, conn := tcpPair(t)
	outcome := bobAt(conn)
	io.WriteString(w.client, "a2 NOOP\r\n")
	io.WriteString(server, "* 1 EXISTS\r\n")
	done := make(chan error)
	go func() { done <- w.relay(t.Context(), outcome) }()
	w.client.CloseWrite()
	if text, err := io.ReadAll(server); string(text) != "a2 NOOP\r\n" || err != nil {
		t.Errorf("mailhost got %q, %v", text, err)
	}
	io.WriteString(server, "a2 OK\r\n")
	server.CloseWrite()
	if text, err := io.ReadAll(w.client); string(text) != "a1 OK\r\n* 1 EXISTS\r\na2 OK\r\n" || err != nil {
		t.Errorf("client got %q, %v", text, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if status := w.carrier.Wait(t.Context()); status != 0 {
		t.Errorf("status %d", status)
	}
	if !slices.Equal(w.dropped, []string{"someone"}) {
		t.Errorf("dropped %v", w.dropped)
	}
	w.wantLog(t, "INFO: LOGIN, user=bob, "+from+", protocol=IMAP",
		"INFO: LOGOUT, user=bob, "+from+", mailhost=a, rcvd=9, sent=19, time=0, protocol=IMAP")
}

// Nothing is relayed with root rights: a client that cannot be served without them is told to come back
// later.
func TestRelayDropRootFails(t *testing.T) {
	w := newWorld(t, imap)
	server, conn := tcpPair(t)
	w.server.DropRoot = func(string) error { return syscall.EPERM }
	outcome := bobAt(conn)
	err := w.relay(t.Context(), outcome)
	if !errors.Is(err, login.ErrTemporary) || len(w.slept) != 1 {
		t.Errorf("%v, slept %v", err, w.slept)
	}
	if text, err := io.ReadAll(server); len(text) != 0 || err != nil {
		t.Errorf("mailhost got %q, %v", text, err)
	}
	w.Farewell("a1 NO") // the client has been told nothing, and can be
	w.Client.Close()
	if text, err := io.ReadAll(w.client); string(text) != "a1 NO\r\n" || err != nil {
		t.Errorf("client got %q, %v", text, err)
	}
	w.wantLog(t, "ERR: giving up root rights: operation not permitted")
}

// A session that is cut off is told from one that has ended.
func TestRelayBroken(t *testing.T) {
	w := newWorld(t, imap)
	server, conn := tcpPair(t)
	outcome := bobAt(conn)
	go func() {
		_, _ = io.ReadFull(w.client, make([]byte, 7))
		server.SetLinger(0)
		server.Close()
	}()
	if err := w.relay(t.Context(), outcome); err != nil {
		t.Error(err)
	}
	status := w.carrier.Wait(t.Context())
	if status != 1 || !strings.Contains(w.log.String(), "session broken off, "+from) {
		t.Errorf("status %d, log %s", status, w.log)
	}
}

// TestRelayStopped: SIGTERM or SIGHUP in a relayed session adds nothing to its stream, closes the client's
// connection, and is an orderly end.
func TestRelayStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imap, "IMAP_PROXY=1", "RELAY_SOCKET=")
	w.auth.Add("bob", "mailhost=up")
	w.Hosts = map[string][]string{"up": {"127.0.0.2"}}
	w.Servers["127.0.0.2:143"] = logintest.Says(nil)
	o, err := w.tryLogin(t.Context(), password("bob", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	o.Mailhost.Answer = []byte("a1 OK\r\n")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	if err := w.relay(ctx, o); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- w.carrier.Wait(ctx) }()
	answer := make([]byte, 7)
	if _, err := io.ReadFull(w.client, answer); err != nil || string(answer) != "a1 OK\r\n" {
		t.Fatalf("%q %v", answer, err)
	}
	stop()
	if rest, err := io.ReadAll(w.client); len(rest) > 0 || err != nil {
		t.Errorf("the client reads %q, %v", rest, err)
	}
	select {
	case status := <-ended:
		if status != 0 {
			t.Errorf("exit status %d", status)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the session does not end")
	}
	got := w.log.String()
	if !strings.Contains(got, "INFO: LOGOUT, user=bob, ") || strings.Contains(got, "broken off") {
		t.Error(got)
	}
}
