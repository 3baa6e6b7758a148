package resident

import (
	"context"
	"net"
	"sync"

	"mailproxy/internal/guard"
	"mailproxy/internal/maillog"
	"mailproxy/internal/successor"
	"mailproxy/relay/engine"
	"mailproxy/relay/handoff"
)

// predecessors are the processes that this one has replaced, with logins under way: each gives the sessions
// of these to the engine here. While they are not listened to, another process can go on with that.
type predecessors struct {
	successor.Part
	log    *maillog.Log
	engine *engine.Engine

	mu    sync.Mutex
	conns map[*net.UnixConn]struct{}
}

func newPredecessors(log *maillog.Log, e *engine.Engine, conns []*net.UnixConn) *predecessors {
	p := &predecessors{log: log, engine: e, conns: make(map[*net.UnixConn]struct{})}
	p.Name, p.Run = "a hand-over of an older process", p.listen
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return p
}

// all returns the connections that are left.
func (p *predecessors) all() (conns []*net.UnixConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		conns = append(conns, c)
	}
	return conns
}

// listen takes what they have, until they have ended, or the end of ctx.
func (p *predecessors) listen(ctx context.Context) {
	var running sync.WaitGroup
	for _, c := range p.all() {
		running.Add(1)
		guard.Go(p.log.Line, "the hand-over of a login", func() {
			defer running.Done()
			handoff.Converse(ctx, c, 0, p.handle)
			if ctx.Err() == nil {
				p.forget(c)
			}
		})
	}
	running.Wait()
}

// handle is a handoff.Handler.
func (p *predecessors) handle(c *net.UnixConn, m *handoff.Message, fds []int) (more bool) {
	if m.Verb != handoff.Carry {
		handoff.CloseAll(fds)
		return handoff.Answer(c, handoff.Fail, "unknown request") == nil
	}
	if _, err := p.engine.TakeMessage(c, m, fds); err != nil {
		return handoff.Refuse(c, err) == nil
	}
	return true
}

// forget hangs up on one.
func (p *predecessors) forget(c *net.UnixConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.Close()
	delete(p.conns, c)
}

// close hangs up on all; where another process goes on listening, nobody notices.
func (p *predecessors) close() {
	_ = p.Close()
	for _, c := range p.all() {
		p.forget(c)
	}
}
