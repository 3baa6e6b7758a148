package engine

import (
	"sync/atomic"
	"time"

	"mailproxy/relay"
)

// State is a session as it stands.
type State struct {
	Info    relay.Info
	Stats   relay.Stats
	Waiting bool // a peer does not take what is held for it
}

// List returns all sessions, in no order.
func (e *Engine) List() []State {
	now := time.Now()
	var all []State
	e.each(func(_ *loop, s *session) {
		all = append(all, State{Info: s.info(), Stats: s.stats(now), Waiting: s.waiting()})
	})
	return all
}

// Totals are sums over the present and the past sessions.
type Totals struct {
	Counted  int // those being carried and those about to be
	Sessions int // being carried
	Waiting  int

	Taken, Ended, Broken     int64 // since New: broken are those that ended with an error
	FromClient, FromMailhost int64 // bytes of these and of those that are being carried

	Mailhosts map[string]int // of Counted, by the mailhost's name as the session has it
	Refused   Refused
}

// Totals returns the sums.
func (e *Engine) Totals() Totals {
	var t Totals
	e.counts.totals(&t)
	e.each(func(_ *loop, s *session) {
		t.Sessions++
		t.FromClient += s.flows[client].moved
		t.FromMailhost += s.flows[mailhost].moved
		if s.waiting() {
			t.Waiting++
		}
	})
	e.history.totals(&t)
	return t
}

// history counts what the sessions have been since New.
type history struct{ taken, ended, broken, fromClient, fromMailhost atomic.Int64 }

// end counts a session that has ended.
func (p *history) end(st relay.Stats, err error) {
	p.ended.Add(1)
	if err != nil {
		p.broken.Add(1)
	}
	p.fromClient.Add(st.FromClient)
	p.fromMailhost.Add(st.FromMailhost)
}

func (p *history) totals(t *Totals) {
	t.Taken, t.Ended, t.Broken = p.taken.Load(), p.ended.Load(), p.broken.Load()
	t.FromClient += p.fromClient.Load()
	t.FromMailhost += p.fromMailhost.Load()
}

// Changes grows with every session that begins or ends.
func (e *Engine) Changes() int64 { return e.history.taken.Load() + e.history.ended.Load() }

// Kick ends every session that match returns true for, and returns how many there were.
func (e *Engine) Kick(match func(relay.Info) bool) (n int) {
	e.each(func(l *loop, s *session) {
		if !s.frozen && match(s.info()) {
			n++
			l.end(s, relay.ErrKicked)
		}
	})
	return n
}

// each calls f for every session of the loops, in its loop's thread, one loop after the other.
func (e *Engine) each(f func(*loop, *session)) {
	for _, l := range e.loops {
		l.call(func() {
			for _, s := range l.slots {
				if s != nil {
					f(l, s)
				}
			}
		})
	}
}
