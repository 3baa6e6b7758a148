package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
	"mailproxy/internal/guard"
	"mailproxy/internal/maillog"
	"mailproxy/internal/peercred"
)

// Limits of the resident daemon.
const (
	// slotsPerDaemon: as many requests per configured daemon are under way at once. A worker of Courier waits
	// for its database alone; here waiting costs no process, so there may be more of it.
	slotsPerDaemon = 8
	// queuePerSlot: as many requests per slot wait for one; those beyond are closed at once, a temporary
	// failure.
	queuePerSlot = 16
	// silentTime is how long a client may take to send its request.
	silentTime = 10 * time.Second
	// requestTime is how long a request may take from its last byte to the answer, waiting for a slot included.
	// Clients wait 30 s: better an orderly temporary failure than theirs.
	requestTime = 25 * time.Second
	// writeTime is how long a client may take to read its answer, or the next piece of it.
	writeTime = 10 * time.Second
	// drainPause is how often the end of the requests under way is looked for.
	drainPause = 5 * time.Millisecond
	// maxSilent bounds the clients that are waited for; those beyond are closed.
	maxSilent = 8192
)

// server serves the authdaemon protocol on listening sockets.
type server struct {
	log *maillog.Log
	// allowed are the users and groups that are answered.
	allowed    *peercred.Set
	complaints peercred.Complaints
	// limits, variable for tests.
	silent, request, write time.Duration

	mu  sync.RWMutex
	now *generation

	waiting atomic.Int64 // clients that have not sent their request yet
	// connections counts the persistent ones, crowded what is said of those beyond the limit.
	connections atomic.Int64
	crowded     peercred.Complaints
	// underWay counts requests from their last byte to the end of the answer.
	underWay atomic.Int64
	// reloadFailed says that the settings stay as they were because new ones could not be used.
	reloadFailed atomic.Bool
	metrics      *numbers
	buffers      buffers
	hashes       *hashes
}

// generation is what a reload replaces.
type generation struct {
	*asker
	slots  chan struct{}
	queued atomic.Int64
	users  sync.WaitGroup
	// complained is when overloaded last did.
	complained atomic.Pointer[time.Time]
}

// buffers hands out room for requests and answers.
type buffers struct{ sync.Pool }

func (p *buffers) get() *[]byte {
	if b, ok := p.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, authlib.MaxRequest)
	return &b
}

func (p *buffers) put(b *[]byte) {
	// Passwords do not stay.
	clear((*b)[:cap(*b)][:min(cap(*b), 1024)])
	p.Put(b)
}

// newServer returns a server that asks a. It answers root and its own user.
func newServer(a *asker) *server {
	s := &server{
		log:     a.log,
		allowed: peercred.Own(),
		silent:  silentTime,
		request: requestTime,
		write:   writeTime,
	}
	s.hashes = newHashes(a.log, a.now)
	s.metrics = newNumbers(
		func() float64 { return float64(s.hashes.waiting.Load()) },
		func() float64 { return float64(s.waiting.Load()) },
		func() float64 { return float64(s.underWay.Load()) },
		func() float64 { return float64(s.connections.Load()) },
	)
	s.hashes.computed, s.hashes.remembered = s.metrics.computed, s.metrics.remembered
	s.use(a)
	return s
}

// use replaces the asker. What the old one has and the new one has not is closed when its requests are done.
func (s *server) use(a *asker) {
	next := &generation{asker: a, slots: make(chan struct{}, a.settings.daemons*slotsPerDaemon)}
	s.mu.Lock()
	old := s.now
	s.now = next
	s.mu.Unlock()
	if old != nil {
		go func() {
			old.users.Wait()
			old.close(a)
		}()
	}
}

// hold returns the generation in use, which is not closed before users.Done.
func (s *server) hold() *generation {
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.now.users.Add(1)
	return s.now
}

// serve accepts connections until ctx ends, which it then returns nil for, and has talk speak to each that
// may ask. Requests under way go on: see drain.
func (s *server) serve(ctx context.Context, l *net.UnixListener, talk func(context.Context, *client)) error {
	defer context.AfterFunc(ctx, func() { _ = l.SetDeadline(time.Unix(1, 0)) })()
	var pause acceptPause
	for {
		conn, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			pause.after(s.log, err)
			continue
		}
		guard.Go(s.log.Line, "a connection", func() {
			defer conn.Close()
			if raw, err := conn.SyscallConn(); err == nil && s.admit(conn) {
				talk(ctx, &client{conn: conn, raw: raw, silent: s.silent, write: s.write, buffers: &s.buffers})
			}
		})
	}
}

// single serves a connection of the first socket: one request. Without an answer the connection is closed: a
// temporary failure.
func (s *server) single(ctx context.Context, c *client) {
	var req authlib.Request
	err := errTurnedAway
	if s.waiting.Add(1) <= maxSilent {
		err = c.receive(ctx, s.silent, func(b []byte) (err error) {
			req, err = authlib.ParseRequest(b)
			return err
		})
	}
	s.waiting.Add(-1)
	if err != nil {
		s.metrics.silent.Inc()
		s.debugf("no request: %v", err)
		return
	}
	s.respond(c, req, func(_, answer []byte, err error) []byte { return answer })
}

// respond answers a request; frame returns what is written, made of the answer or the error and in a buffer.
// That of a list is written by the way.
func (s *server) respond(c *client, req authlib.Request,
	frame func(buf, answer []byte, err error) []byte) error {
	began := time.Now()
	s.underWay.Add(1)
	defer s.underWay.Add(-1)
	buf, framed := s.buffers.get(), s.buffers.get()
	defer s.buffers.put(buf)
	defer s.buffers.put(framed)
	answer, err := s.ask(c, req, began, (*buf)[:0])
	_, err = c.Write(frame((*framed)[:0], answer, err))
	return err
}

// ask appends the answer to a request; an error is a temporary failure.
func (s *server) ask(c *client, req authlib.Request, began time.Time, dst []byte) (out []byte, err error) {
	defer guard.Recover(s.log.Line, "a request", func() { out, err = nil, errFault })
	g := s.hold()
	defer g.users.Done()
	limit, cancel := context.WithDeadline(context.Background(), began.Add(s.request))
	defer cancel()
	limit, leave, ok := s.enter(limit, g)
	if !ok {
		return nil, errTurnedAway
	}
	defer leave()
	if _, ok := req.(*authlib.EnumerateRequest); ok {
		err = s.list(g, c)
	} else {
		out, err = g.answer(limit, req, dst)
	}
	s.metrics.count(kindOf(req), resultOf(out, err), began)
	return out, err
}

// debugf logs with DEBUG_LOGIN.
func (s *server) debugf(format string, args ...any) {
	s.mu.RLock()
	a := s.now.asker
	s.mu.RUnlock()
	a.debugf(format, args...)
}

// enter takes a slot of g. The context returned has slow hashes wait for their turn without the slot.
func (s *server) enter(ctx context.Context, g *generation) (inside context.Context, leave func(), ok bool) {
	if !g.enter(ctx) {
		s.metrics.turnedAway.Inc()
		return ctx, nil, false
	}
	p := &place{slots: g.slots}
	return password.WithVerifier(ctx, s.hashes.forRequest(p, cap(g.slots)*queuePerSlot)), p.leave, true
}

// enter takes a slot, waiting for one if the queue is not full.
func (g *generation) enter(ctx context.Context) bool {
	select {
	case g.slots <- struct{}{}:
		return true
	default:
	}
	defer g.queued.Add(-1)
	if g.queued.Add(1) > int64(cap(g.slots)*queuePerSlot) {
		g.overloaded()
		return false
	}
	select {
	case g.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// overloaded reports, once a minute, that requests are turned away.
func (g *generation) overloaded() {
	now, last := g.asker.now(), g.complained.Load()
	if (last == nil || now.Sub(*last) >= time.Minute) && g.complained.CompareAndSwap(last, &now) {
		g.log.Errf(
			"more than %d requests under way and waiting: the rest is told to come back later; raise daemons, or "+
				"see what the databases wait for",
			cap(g.slots)*(1+queuePerSlot),
		)
	}
}

// drain waits, when serve has returned, for the requests under way, but no longer than ctx.
func (s *server) drain(ctx context.Context) error {
	for s.underWay.Load() > 0 {
		select {
		case <-time.After(drainPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
