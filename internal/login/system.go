package login

import (
	"context"
	"os"
	"time"
)

// System is what a login needs of the system. Tests put their own in.
type System struct {
	// Now is the clock.
	Now func() time.Time
	// Sleep waits, or returns early when ctx ends.
	Sleep func(ctx context.Context, d time.Duration)
	// Hostname is gethostname(2).
	Hostname func() (string, error)
}

// RealSystem is the system itself.
func RealSystem() System {
	return System{
		Now: time.Now,
		Sleep: func(ctx context.Context, d time.Duration) {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		},
		Hostname: os.Hostname,
	}
}
