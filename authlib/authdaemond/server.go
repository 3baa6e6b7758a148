package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
	"mailproxy/internal/accept"
	"mailproxy/internal/connection"
	"mailproxy/internal/guard"
	"mailproxy/internal/loglimit"
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
	// refusalsEvery is how often the log tells of clients that are refused.
	refusalsEvery = 10 * time.Second
	// maxIdle is the number of workers that wait for work.
	maxIdle = 32
	// maxSilent bounds the clients that are waited for; those beyond are closed.
	maxSilent = 8192
)

// server serves the authdaemon protocol on listening sockets.
type server struct {
	log *maillog.Log
	// allowed are the users and groups that are answered.
	allowed    *peercred.Set
	complaints loglimit.Limit
	// limits, variable for tests.
	silent, request, write time.Duration

	mu  sync.RWMutex
	now *generation

	work chan job
	idle atomic.Int64 // workers that wait for work
	// drained is closed when no more work will come.
	drained chan struct{}

	waiting atomic.Int64 // clients that have not sent their request yet
	// connections counts the persistent ones, crowded what is said of those beyond the limit.
	connections atomic.Int64
	crowded     loglimit.Limit
	// underWay counts requests from their last byte to the end of the answer.
	underWay atomic.Int64
	// reloadFailed says that the settings stay as they were because new ones could not be used.
	reloadFailed atomic.Bool
	metrics      *numbers
	buffers      pool
	hashes       *hashes
}

// job is an accepted connection.
type job struct {
	ctx context.Context
	fd  int
}

// generation is what a reload replaces.
type generation struct {
	*asker
	slots  chan struct{}
	queued atomic.Int64
	users  sync.WaitGroup
	lines  loglimit.Limit // of overloaded
}

// pool hands out buffers for requests and answers.
type pool struct{ sync.Pool }

func (p *pool) get() *[]byte {
	if b, ok := p.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, authlib.MaxRequest)
	return &b
}

// put takes b back, of which no more than used was written to, or has grown out of it. Passwords do not stay.
func (p *pool) put(b *[]byte, used []byte) {
	clear(used)
	clear((*b)[:min(len(used), cap(*b))])
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
		work:    make(chan job),
		drained: make(chan struct{}),
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

// serve accepts connections until ctx ends, which it then returns nil for. Requests under way go on: see
// drain.
func (s *server) serve(ctx context.Context, l *net.UnixListener) error {
	// The listener itself gives no access to its file descriptor's readiness; a file of the same socket does.
	f, err := l.File()
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	defer connection.Interrupt(ctx, f.SetReadDeadline)()
	var failures accept.Failures
	for {
		fd := -1
		var errno unix.Errno
		err := raw.Read(func(listener uintptr) bool {
			var n uintptr
			n, _, errno = unix.RawSyscall6(
				unix.SYS_ACCEPT4, listener, 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
			fd = int(n)
			return errno != unix.EAGAIN
		})
		switch {
		case ctx.Err() != nil:
			if err == nil && errno == 0 {
				_ = unix.Close(fd)
			}
			return nil
		case err != nil:
			return err
		case errno == unix.ECONNABORTED || errno == unix.EINTR:
			continue
		case errno != 0:
			if !failures.Retry(ctx, errno, s.notAccepted) && ctx.Err() == nil {
				return errno
			}
			continue
		}
		s.hand(ctx, fd)
	}
}

// hand gives a connection to an idle worker, or to a new one. Workers are kept because their stacks have
// grown already.
func (s *server) hand(ctx context.Context, fd int) {
	select {
	case s.work <- job{ctx, fd}:
	default:
		guard.Go(s.log.Line, "a connection", func() { s.worker(job{ctx, fd}) })
	}
}

// worker serves connections, one after the other, until enough others are idle. A panic ends it, and the
// connection that it serves without an answer.
func (s *server) worker(j job) {
	for {
		s.client(j.ctx, j.fd)
		if s.idle.Add(1) > maxIdle {
			s.idle.Add(-1)
			return
		}
		select {
		case j = <-s.work:
			s.idle.Add(-1)
		case <-s.drained:
			return
		}
	}
}

// client serves one connection.
func (s *server) client(ctx context.Context, fd int) {
	c := conn{fd: fd, writeTime: s.write}
	defer c.Close()
	if !s.admit(fd) {
		return
	}
	req, ok := s.receive(ctx, &c)
	if !ok {
		s.metrics.silent.Inc()
		return
	}
	began := time.Now()
	s.underWay.Add(1)
	defer s.underWay.Add(-1)
	g := s.hold()
	defer g.users.Done()
	limit, cancel := context.WithDeadline(context.Background(), began.Add(s.request))
	defer cancel()
	limit, release, ok := s.acquire(limit, g)
	if !ok {
		return
	}
	defer release()
	if _, ok := req.(*authlib.EnumerateRequest); ok {
		// The list of a large installation takes longer than other answers; the limit of each write ends it for who
		// goes away.
		err := g.list(context.Background(), &c)
		s.metrics.count(kindEnumerate, resultOf(nil, err), began)
		return
	}
	buf := s.buffers.get()
	used := (*buf)[:cap(*buf)]
	defer func() { s.buffers.put(buf, used) }()
	// Without an answer the connection is closed: a temporary failure.
	out, err := g.answer(limit, req, (*buf)[:0])
	if err == nil {
		_, _ = c.Write(out)
		used = out
	}
	s.metrics.count(kindOf(req), resultOf(out, err), began)
}

// receive reads a request. ok is false for clients that get no answer.
func (s *server) receive(ctx context.Context, c *conn) (req authlib.Request, ok bool) {
	buf := s.buffers.get()
	req, done, err := c.peek((*buf)[:cap(*buf)])
	if !done {
		// A client that has just connected is about to write: let it.
		runtime.Gosched()
		req, done, err = c.peek((*buf)[:cap(*buf)])
	}
	var rest []byte
	if !done {
		req, rest, done, err = c.receive((*buf)[:0])
	}
	if len(rest) > 0 {
		rest = append([]byte(nil), rest...)
		defer clear(rest)
	}
	used := (*buf)[:cap(*buf)]
	if c.peeked > 0 { // and nothing was received
		used = used[:c.peeked]
	}
	s.buffers.put(buf, used)
	if !done {
		defer s.waiting.Add(-1)
		if s.waiting.Add(1) > maxSilent || ctx.Err() != nil {
			return nil, false
		}
		file := c.wait()
		stop := connection.Interrupt(ctx, file.SetReadDeadline)
		req, err = c.await(rest, time.Now().Add(s.silent), &s.buffers)
		stop()
	}
	if err != nil && err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.debugf("no request: %v", err)
	}
	return req, err == nil
}

// debugf logs with DEBUG_LOGIN.
func (s *server) debugf(format string, args ...any) {
	s.mu.RLock()
	a := s.now.asker
	s.mu.RUnlock()
	a.debugf(format, args...)
}

// acquire takes a slot of g. The context returned has slow hashes wait for their turn without the slot.
func (s *server) acquire(
	ctx context.Context, g *generation,
) (inside context.Context, release func(), ok bool) {
	if !g.acquire(ctx) {
		s.metrics.turnedAway.Inc()
		return ctx, nil, false
	}
	held := &slot{slots: g.slots}
	return password.WithVerifier(ctx, s.hashes.forRequest(held, cap(g.slots)*queuePerSlot)), held.release, true
}

// acquire takes a slot, waiting for one if the queue is not full.
func (g *generation) acquire(ctx context.Context) bool {
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
	if g.lines.Due("", time.Minute, g.now()) {
		g.log.Errf(
			"more than %d requests under way and waiting: the rest is told to come back later; raise daemons, or "+
				"see what the databases wait for",
			cap(g.slots)*(1+queuePerSlot),
		)
	}
}

// drain waits, when serve has returned, for the requests under way, but no longer than ctx.
func (s *server) drain(ctx context.Context) error {
	defer close(s.drained)
	for s.underWay.Load() > 0 {
		select {
		case <-time.After(drainPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
