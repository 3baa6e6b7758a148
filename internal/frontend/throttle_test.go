package frontend

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"mailproxy/authlib"
	"mailproxy/internal/facts"
	"mailproxy/internal/launch"
	"mailproxy/relay"
)

// A process that gives up root has closed the table by then.
func TestThrottleClosedBeforeDropRoot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "throttle")
	w := newWorld(t, imap, "THROTTLE_FILE="+path, "MAXUNAUTHPERIP=1", "LOGIN_FAIL_DELAY=1")
	w.auth.Add("bob", "")
	if !w.AcquireUnauth() || !isOpen(t, path) {
		t.Fatal("the table is not open, which proves nothing")
	}
	w.tryLogin(t.Context(), password("bob", "x"))
	dropped := false
	w.server.DropRoot = func(string) error {
		dropped = true
		if isOpen(t, path) {
			t.Error("the table is open when root is given up")
		}
		return nil
	}
	server, conn := tcpPair(t)
	server.Close()
	w.client.Close()
	w.relay(t.Context(), bobAt(conn))
	if !dropped {
		t.Error("root was not given up")
	}
	if next := newWorld(t, imap, "THROTTLE_FILE="+path, "MAXUNAUTHPERIP=1"); !next.AcquireUnauth() {
		t.Error("a session that has logged in still counts")
	}
}

// A client that logs in, and whose session nobody takes, has not logged in: its connection counts again.
func TestRefusedSessionCounts(t *testing.T) {
	settings := []string{
		"THROTTLE_FILE=" + filepath.Join(t.TempDir(), "throttle"), "MAXUNAUTHPERIP=1", "LOGIN_FAIL_DELAY=1",
	}
	for _, test := range []struct {
		name string
		end  func(w *world) error
	}{
		{"limit of sessions", func(w *world) error {
			server, conn := tcpPair(t)
			t.Cleanup(func() { server.Close() })
			w.server.Engine = func() (relay.Carrier, error) { return full{}, nil }
			return w.relay(t.Context(), bobAt(conn))
		}},
		{"no local accounts", func(w *world) error {
			w.server.Local = nil
			return w.execLocal(t.Context(), &authlib.Account{Address: "bob"}, nil)
		}},
	} {
		w := newWorld(t, imap, settings...)
		w.auth.Add("bob", "")
		if !w.AcquireUnauth() {
			t.Fatalf("%s: no room for the first connection", test.name)
		}
		if _, err := w.tryLogin(t.Context(), password("bob", "secret")); err != nil {
			t.Fatal(err)
		}
		if err := test.end(w); err == nil {
			t.Fatalf("%s: somebody has taken the session", test.name)
		}
		if newWorld(t, imap, settings...).AcquireUnauth() {
			t.Errorf("%s: a connection that has not logged in does not count", test.name)
		}
		w.CloseThrottle()
	}
}

// full is a relay.Carrier with as many sessions as it may have.
type full struct{}

func (full) Carry(context.Context, *relay.Session) error { return relay.ErrLimit }

// isOpen says whether this process has a file open.
func isOpen(t *testing.T, path string) bool {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name, _ := os.Readlink("/proc/self/fd/" + entry.Name()); name == path {
			return true
		}
	}
	return false
}

// A client that MAXUNAUTHPERIP turns away reads why in clear text, unless it waits for a handshake.
func TestTurnedAway(t *testing.T) {
	for _, test := range []struct {
		name string
		tls  string // IMAP_TLS
		peer launch.Peer
		want string
	}{
		{"clear text", "0", launch.Peer{RemoteIP: "192.0.2.7"}, imap.Unavailable + "\r\n"},
		{"TLS first", "1", launch.Peer{RemoteIP: "192.0.2.7"}, ""},
		{"TLS in front of us", "1", launch.Peer{RemoteIP: "192.0.2.7", TLS: facts.Over("TLSv1.3")},
			imap.Unavailable + "\r\n"},
	} {
		settings := []string{"THROTTLE_FILE=" + filepath.Join(t.TempDir(), "throttle"), "MAXUNAUTHPERIP=1",
			"IMAP_TLS=" + test.tls}
		first := newWorld(t, imap, settings...)
		first.Peer.RemoteIP = test.peer.RemoteIP
		if !first.AcquireUnauth() {
			t.Fatalf("%s: no room for the first connection", test.name)
		}
		client, conn := tcpPair(t)
		status := newWorld(t, imap, settings...).server.ServeConn(t.Context(), conn, test.peer)
		text, err := io.ReadAll(client)
		if string(text) != test.want || err != nil || status != 1 {
			t.Errorf("%s: read %q, %v, status %d; want %q", test.name, text, err, status, test.want)
		}
	}
}
