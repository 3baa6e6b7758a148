package connection

import (
	"context"
	"net"
	"sync"
	"time"
)

// Interrupt has the end of ctx end what waits on a connection or a listener whose deadline set sets, as its
// SetDeadline does. stop is to be called when nothing waits there any more: from when it has returned no
// deadline is set. It reports whether none has been.
func Interrupt(ctx context.Context, set func(time.Time) error) (stop func() bool) {
	done := make(chan struct{})
	end := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = set(time.Unix(1, 0))
	})
	return sync.OnceValue(func() bool {
		if end() {
			return true
		}
		<-done
		return false
	})
}

// Within limits what is done on conn to the time d, and to that until the end of ctx. The function that it
// returns takes the limit off.
func Within(ctx context.Context, conn net.Conn, d time.Duration) (end func()) {
	_ = conn.SetDeadline(time.Now().Add(d))
	stop := Interrupt(ctx, conn.SetDeadline)
	return func() {
		stop()
		_ = conn.SetDeadline(time.Time{})
	}
}
