package successor

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Part is a part of a service that has to stand still while another process takes over what it works on. It
// does until it is started.
type Part struct {
	// Name is what does not come to an end, for the error of Stop.
	Name string
	// Run does the work until the end of ctx, and leaves what it works on as it is.
	Run func(ctx context.Context)

	mu     sync.Mutex         // held while it starts or stops
	cancel context.CancelFunc // nil: it stands still
	ended  chan struct{}      // closed when what was started last has ended
	closed bool
}

// Start has the part work. After Close, and while it works, Start does nothing.
func (p *Part) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	p.cancel, p.ended = cancel, ended
}

// Stop returns nil when the part stands still. The error says that it may not yet; it can be started again
// all the same.
func (p *Part) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel == nil {
		return nil
	}
	p.cancel()
	p.cancel = nil
	ended := p.ended
	return WaitAtMost(p.Name, func() { <-ended })
}

// Close stops the part for good.
func (p *Part) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	return p.Stop()
}

// restTime is how long a service waits for one of its parts to stop. That takes milliseconds; if a part does
// not stop, the service goes on without waiting any longer.
const restTime = 5 * time.Second

// WaitAtMost calls wait, which returns when a part of a service has stopped, and waits for that for restTime
// at most. The error names a part that has not stopped by then.
func WaitAtMost(what string, wait func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait()
	}()
	late := time.NewTimer(restTime)
	defer late.Stop()
	select {
	case <-done:
		return nil
	case <-late.C:
		return fmt.Errorf("%s has not come to an end within %v", what, restTime)
	}
}
