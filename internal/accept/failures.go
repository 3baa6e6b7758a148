// Package accept handles errors of accept(2), for all loops that accept connections.
package accept

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/loglimit"
)

const (
	pause         = 100 * time.Millisecond
	complainEvery = time.Minute
)

// Failures are those of one loop. The zero value is ready.
type Failures struct{ lines loglimit.Limit }

// Retry is called with each error of accept and reports whether to try again. It does so after a pause, in
// which file descriptors or memory may become free; connections wait in the kernel's queue meanwhile.
// complain is called at most once a minute. There is nothing to try again when the socket is closed or does
// not listen, when its deadline has passed, and after the end of ctx.
func (f *Failures) Retry(ctx context.Context, err error, complain func(err error)) bool {
	for _, end := range []error{net.ErrClosed, os.ErrDeadlineExceeded, unix.EINVAL} {
		if errors.Is(err, end) {
			return false
		}
	}
	if ctx.Err() != nil {
		return false
	}
	if f.lines.Due("", complainEvery, time.Now()) {
		complain(err)
	}
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}
