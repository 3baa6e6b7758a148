package frontend

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailproxy/internal/config"
	"mailproxy/internal/inetd"
)

func throttled(t *testing.T, path string, log *bytes.Buffer) *Session {
	t.Helper()
	c, err := config.Load(nil, []string{"THROTTLE_FILE=" + path, "MAXUNAUTHPERIP=2"}, config.POP3)
	if err != nil {
		t.Fatal(err)
	}
	return &Session{
		Config: c, Log: inetd.NewLog(log), System: RealSystem(),
		Peer: inetd.Peer{RemoteIP: "::ffff:192.0.2.7", RemotePort: "4711"},
	}
}

func TestFailDelayGrowsAcrossSessions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "throttle")
	for i, want := range []time.Duration{5, 10, 15, 20, 25, 30, 30} {
		s := throttled(t, path, new(bytes.Buffer))
		if got := s.failDelay(true); got != want*time.Second {
			t.Errorf("refusal %d waits %v, want %v s", i+1, got, want)
		}
		if got := s.failDelay(false); got != 5*time.Second {
			t.Errorf("a temporary failure waits %v, want 5 s", got)
		}
	}
}

func TestEnterLimitsConnections(t *testing.T) {
	path := filepath.Join(t.TempDir(), "throttle")
	var log bytes.Buffer
	first, second, third := throttled(t, path, &log), throttled(t, path, &log), throttled(t, path, &log)
	if !first.enter() || !second.enter() {
		t.Fatal("two of two connections were refused")
	}
	if third.enter() {
		t.Error("a third connection was let in")
	}
	if want := "NOTICE: Maximum of 2 connections without a login reached, ip=[::ffff:192.0.2.7], port=[4711]\n"; log.String() != want {
		t.Errorf("log %q, want %q", log.String(), want)
	}
	first.left()
	first.left() // once is enough
	if !third.enter() {
		t.Error("refused although one has left")
	}
	if throttled(t, path, &log).enter() {
		t.Error("leaving twice made room for two")
	}
}

// TestThrottleBroken: a table that cannot be used is said once, and stops nobody.
func TestThrottleBroken(t *testing.T) {
	var log bytes.Buffer
	path := t.TempDir()
	s := throttled(t, path, &log)
	if !s.enter() || s.failDelay(true) != 5*time.Second {
		t.Error("a broken table stopped a client")
	}
	s.left()
	if s.Config.ThrottleFile != path {
		t.Error("one session has changed the settings")
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.HasPrefix(log.String(), "WARN: THROTTLE_FILE: ") {
		t.Errorf("log %q", log.String())
	}
}
