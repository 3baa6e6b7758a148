package resident

import (
	"net"
	"sync"
	"time"

	"mailproxy/internal/guard"
	"mailproxy/internal/maillog"
	"mailproxy/relay/engine"
	"mailproxy/relay/handoff"
)

// answerTime is for an answer to leave.
const answerTime = 10 * time.Second

// predecessors are the processes that this one has replaced, with logins under way: each gives the sessions
// of these to the engine here. They can be paused, so that another process goes on listening to them.
type predecessors struct {
	log    *maillog.Log
	engine *engine.Engine
	taken  func() // told of each session; nil: nobody

	mu      sync.Mutex
	conns   map[*net.UnixConn]struct{}
	paused  bool
	running *sync.WaitGroup // since they are listened to; nil: never yet
}

func newPredecessors(log *maillog.Log, e *engine.Engine, conns ...*net.UnixConn) *predecessors {
	p := &predecessors{log: log, engine: e, conns: make(map[*net.UnixConn]struct{}), paused: true}
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

// resume has them listened to.
func (p *predecessors) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.paused {
		return
	}
	p.paused = false
	running := new(sync.WaitGroup)
	p.running = running
	for c := range p.conns {
		_ = c.SetReadDeadline(time.Time{})
		running.Add(1)
		guard.Go(p.log.Line, "the hand-over of a login", func() {
			defer running.Done()
			p.converse(c)
		})
	}
}

// pause returns nil when nobody is listened to: every message is either answered or still to be read.
func (p *predecessors) pause() error {
	p.mu.Lock()
	p.paused = true
	for c := range p.conns {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
	running := p.running
	p.mu.Unlock()
	if running == nil {
		return nil
	}
	return waitAtMost("a hand-over of an older process", restTime, running.Wait)
}

// close hangs up, after pause; where another process goes on listening, nobody notices.
func (p *predecessors) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

// converse takes what one predecessor has, until it has ended or there is a pause.
func (p *predecessors) converse(c *net.UnixConn) {
	for {
		m, fds, err := handoff.Receive(c)
		_ = c.SetWriteDeadline(time.Now().Add(answerTime))
		switch {
		case err == nil && m.Verb == handoff.Carry:
			_, err = p.engine.TakeMessage(c, m, fds)
			switch {
			case err != nil:
				err = handoff.Refuse(c, err)
			case p.taken != nil:
				p.taken()
			}
		case err == nil:
			handoff.CloseAll(fds)
			err = handoff.Answer(c, handoff.Fail, "unknown request")
		case len(fds) > 0 || err == handoff.ErrFiles:
			handoff.CloseAll(fds)
			err = handoff.Answer(c, handoff.Full, err.Error())
		}
		if err == nil {
			continue
		}
		if p.ended(c) {
			c.Close()
		}
		return
	}
}

// ended forgets a predecessor; false when it has not ended: there is a pause.
func (p *predecessors) ended(c *net.UnixConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused {
		return false
	}
	delete(p.conns, c)
	return true
}
