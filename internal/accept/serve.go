package accept

import (
	"context"
	"errors"
	"net"
	"time"

	"mailproxy/internal/connection"
)

// Serve calls serve with each connection to l until the end of ctx, after which l can be used again, and
// until somebody closes l. Connections wait in the kernel's queue then, and while something is against
// accepting them, of which complain is told as by Failures.Retry. slots, where it is not nil, is sent an
// element before each connection is accepted, which is to be received when that has been served. The error is
// for a socket that does not listen.
func Serve(ctx context.Context, l net.Listener, slots chan struct{}, complain func(error),
	serve func(net.Conn)) error {
	if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
		_ = d.SetDeadline(time.Time{})
		defer connection.Interrupt(ctx, d.SetDeadline)()
	}
	var failures Failures
	for ctx.Err() == nil {
		if slots != nil {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
		}
		c, err := l.Accept()
		if err == nil {
			serve(c)
			continue
		}
		if slots != nil {
			<-slots
		}
		switch {
		case failures.Retry(ctx, err, complain):
		case ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return nil
		default:
			return err
		}
	}
	return nil
}
