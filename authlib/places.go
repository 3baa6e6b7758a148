package authlib

import (
	"context"
	"sync"
)

// places bound how many requests do something at once. The zero value is ready.
type places struct {
	once  sync.Once
	taken chan struct{} // has a token for each place taken
}

// enter takes one of most places, the same number in each call, and tells whether it had to wait for it. The
// error is the context's.
func (p *places) enter(ctx context.Context, most int) (waited bool, err error) {
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

// leave gives a place back.
func (p *places) leave() { <-p.taken }
