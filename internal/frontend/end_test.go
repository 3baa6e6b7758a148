package frontend

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"mailproxy/internal/login"
	"mailproxy/tests/testlog"
)

// The signal ends a read that has begun, and every later one; farewells can still be written.
func TestInterrupt(t *testing.T) {
	w := newWorld(t, imap)
	ctx, cancel := context.WithCancel(t.Context())
	defer w.begin(ctx)()
	time.AfterFunc(30*time.Millisecond, cancel)
	_, err := w.Client.Read(make([]byte, 1))
	if w.why(ctx, err) != login.EndShutdown {
		t.Errorf("%v", err)
	}
	// STARTTLS at that very moment.
	client, conn := tcpPair(t)
	w.encrypted(conn)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || !w.TLS {
		t.Errorf("after STARTTLS: %v", err)
	}
	w.Farewell("* BYE")
	conn.Close()
	if text, err := io.ReadAll(client); string(text) != "* BYE\r\n" || err != nil {
		t.Errorf("farewell %q, %v", text, err)
	}
}

func TestLoginTimeLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imap, "LOGIN_TIMEOUT=1")
	start := time.Now()
	_, err := w.Client.Read(make([]byte, 1))
	if d := time.Since(start); w.why(t.Context(), err) != login.EndTimeout || d > testlog.Patience {
		t.Errorf("%v after %v", err, d)
	}
	w.Farewell("late")
	w.Client.Close()
	if text, err := io.ReadAll(w.client); string(text) != "late\r\n" || err != nil {
		t.Errorf("farewell %q, %v", text, err)
	}
}

func TestWhyClosed(t *testing.T) {
	w := newWorld(t, imap)
	w.client.Close()
	_, err := w.Client.Read(make([]byte, 1))
	if w.why(t.Context(), err) != login.EndClosed {
		t.Errorf("%v", err)
	}
}

// A login that has ended the session did so by the time limit, or by a signal.
func TestWhyLoginEnds(t *testing.T) {
	w := newWorld(t, imap)
	if why := w.why(t.Context(), login.ErrEnd); why != login.EndTimeout {
		t.Errorf("%v", why)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if why := w.why(ctx, login.ErrEnd); why != login.EndShutdown {
		t.Errorf("%v", why)
	}
}

// After the login nothing of its limits is left: not on the time, and not on the log.
func TestRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imap, "LOGIN_TIMEOUT=1")
	for range 1000 {
		w.Log.Infof("noise %s", strings.Repeat("x", 100))
	}
	w.release()
	w.Log.Infof("afterwards")
	if !strings.HasSuffix(w.log.String(), "INFO: afterwards\n") {
		t.Error("the limit of the log goes on after the login")
	}
	time.AfterFunc(1200*time.Millisecond, func() { w.Client.Close() })
	if _, err := w.Client.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a deadline was left behind")
	}
}

// A client that takes nothing does not hold the process.
func TestFarewellStuck(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imap)
	start := time.Now()
	w.Farewell(strings.Repeat("x", 64<<20))
	if d := time.Since(start); d < 900*time.Millisecond || d > testlog.Patience {
		t.Errorf("took %v", d)
	}
}
