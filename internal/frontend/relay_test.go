package frontend

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"mailproxy/internal/login/logintest"
)

// TestRelayStopped: SIGTERM or SIGHUP in a relayed session adds nothing to its stream, closes the client's
// connection, and is an orderly end.
func TestRelayStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imap, "IMAP_PROXY=1", "RELAY_SOCKET=")
	w.auth.Add("bob", "mailhost=up")
	w.Hosts = map[string][]string{"up": {"127.0.0.2"}}
	w.Servers["127.0.0.2:143"] = logintest.Says(nil)
	o, err := w.Login(t.Context(), password("bob", "secret"), "a1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	if err := w.Relay(ctx, o, "a1 OK\r\n"); err != nil {
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
	case <-time.After(10 * time.Second):
		t.Fatal("the session does not end")
	}
	got := w.log.String()
	if !strings.Contains(got, "INFO: LOGOUT, user=bob, ") || strings.Contains(got, "broken off") {
		t.Error(got)
	}
}
