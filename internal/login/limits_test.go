package login

import (
	"strings"
	"testing"
)

func TestCountCommand(t *testing.T) {
	w := newWorld(t, imap, "LOGIN_MAX_COMMANDS=3")
	for i := range 3 {
		if !w.CountCommand() {
			t.Errorf("command %d is one too many", i+1)
		}
	}
	if w.CountCommand() {
		t.Error("a fourth command")
	}
	w.wantLog(t, "NOTICE: TOO MANY COMMANDS WITHOUT A LOGIN (LOGIN_MAX_COMMANDS=3), "+from)
}

// Noise before the login is bounded; guesses in it are written all the same.
func TestNoiseHidesNoGuess(t *testing.T) {
	w := newWorld(t, imap)
	for range 1000 {
		w.Log.Infof("noise %s", strings.Repeat("x", 100))
	}
	w.Login(t.Context(), password("bob", "x"))
	w.LogDisconnected(EndTimeout)
	log := w.log.String()
	if n := len(log); n > maxLog+500 {
		t.Errorf("%d bytes", n)
	}
	for _, line := range []string{
		"NOTICE: further log lines before the login are left out, " + from +
			"\n", "INFO: LOGIN FAILED, user=bob, " + from + "\n", "INFO: TIMEOUT, " + from,
	} {
		if strings.Count(log, line) != 1 {
			t.Errorf("not once in the log: %s", line)
		}
	}
}
