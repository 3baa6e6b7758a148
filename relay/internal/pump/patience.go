package pump

import (
	"errors"
	"math"
	"time"
)

// ErrHalfClosed ends a session of which one side has ended and the other does nothing: it neither sends, nor takes what it
// is sent, nor goes away.
var ErrHalfClosed = errors.New("half-closed for too long")

// Patience is the time that a session is given which has ended on one side. It is counted from the last byte that moved.
type Patience struct {
	Limit time.Duration
	moved int64
	since time.Time // zero: no side has ended yet
}

// Left returns how much of the time is left; negative or 0: the session is over.
func (p *Patience) Left(a, b *Flow, now time.Time) time.Duration {
	if !a.Ended() && !b.Ended() {
		return math.MaxInt64
	}
	if moved := a.Moved + b.Moved; p.since.IsZero() || moved != p.moved {
		p.since, p.moved = now, moved
	}
	return p.Limit - now.Sub(p.since)
}
