package frontend

import (
	"os"
	"path/filepath"
	"testing"
)

// A process that gives up root has closed the table by then.
func TestThrottleClosedBeforeDropRoot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "throttle")
	w := newWorld(t, imap, "THROTTLE_FILE="+path, "MAXUNAUTHPERIP=1", "LOGIN_FAIL_DELAY=1")
	w.auth.Add("bob", "")
	if !w.Enter() || !isOpen(t, path) {
		t.Fatal("the table is not open, which proves nothing")
	}
	w.Login(t.Context(), password("bob", "x"), "a1")
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
	w.Relay(t.Context(), bobAt(conn), "a1 OK\r\n")
	if !dropped {
		t.Error("root was not given up")
	}
	if next := newWorld(t, imap, "THROTTLE_FILE="+path, "MAXUNAUTHPERIP=1"); !next.Enter() {
		t.Error("a session that has logged in still counts")
	}
}

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
