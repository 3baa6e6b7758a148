package accept

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Failures
		lines := 0
		retry := func(ctx context.Context, err error) bool {
			return f.Retry(ctx, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)},
				func(error) { lines++ })
		}
		begun := time.Now()
		for time.Since(begun) < 90*time.Second {
			if !retry(t.Context(), unix.EMFILE) {
				t.Fatal("gives up")
			}
		}
		if lines != 2 {
			t.Errorf("%d lines in 90 seconds", lines)
		}
		for _, end := range []error{net.ErrClosed, os.ErrDeadlineExceeded, unix.EINVAL} {
			if retry(t.Context(), end) {
				t.Errorf("tries again after: %v", end)
			}
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), pause/2, errors.New("end"))
		defer cancel()
		for range 2 { // the first one waits when the end comes
			if retry(ctx, unix.ENOMEM) {
				t.Error("tries again after the end")
			}
		}
		if lines != 2 {
			t.Errorf("%d lines", lines)
		}
	})
}
