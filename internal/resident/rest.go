package resident

import (
	"fmt"
	"time"
)

// restTime is for each part of the service to come to rest, before another process goes on with it. That is a
// matter of milliseconds; but whatever it is that keeps a part from it, the service goes on.
const restTime = 5 * time.Second

// waitAtMost calls wait, which returns when a part of the service has come to rest, and waits for that at
// most for limit. The error names what has not come to an end by then.
func waitAtMost(what string, limit time.Duration, wait func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait()
	}()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-done:
		return nil
	case <-late.C:
		return fmt.Errorf("%s has not come to an end within %v", what, limit)
	}
}
