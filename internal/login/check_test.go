package login

import (
	"path/filepath"
	"testing"
)

// TestChecksTakeNoPlace: a balancer's health checks do not count among the connections of its address, and
// come in when there is no slot left.
func TestChecksTakeNoPlace(t *testing.T) {
	settings := []string{"THROTTLE_FILE=" + filepath.Join(t.TempDir(), "throttle"), "MAXUNAUTHPERIP=1"}
	enter := func(check bool) bool {
		w := newWorld(t, imap, settings...)
		w.HealthCheck = check
		return w.AcquireUnauth()
	}
	for n, connection := range []struct{ check, want bool }{
		{true, true}, {true, true}, {false, true}, {false, false}, {true, true},
	} {
		if got := enter(connection.check); got != connection.want {
			t.Errorf("connection %d, check %v: %v", n+1, connection.check, got)
		}
	}
}
