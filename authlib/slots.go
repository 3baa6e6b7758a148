package authlib

import (
	"context"
	"sync"
)

// slots bound how many requests do something at once: a semaphore. The zero value is ready.
type slots struct {
	once  sync.Once
	taken chan struct{} // has a token for each slot taken
}

// acquire takes one of most slots, the same number in each call, and tells whether it had to wait for it. The
// error is the context's.
func (p *slots) acquire(ctx context.Context, most int) (waited bool, err error) {
	p.once.Do(func() { p.taken = make(chan struct{}, most) })
	select {
	case p.taken <- struct{}{}:
		return false, nil
	default:
	}
	select {
	case p.taken <- struct{}{}:
		return true, nil
	case <-ctx.Done():
		return true, ctx.Err()
	}
}

// release gives a slot back.
func (p *slots) release() { <-p.taken }
