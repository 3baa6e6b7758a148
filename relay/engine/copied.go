package engine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"mailproxy/internal/connection"
	"mailproxy/internal/guard"
	"mailproxy/relay"
)

const (
	smallCopy = 1 << 10  // held by a direction that waits
	largeCopy = 32 << 10 // borrowed while more than that comes at once
)

// halfCloser is a connection whose two directions end separately.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// copiedSession is one that the loops cannot serve: it is carried by two goroutines.
type copiedSession struct {
	conns        [2]halfCloser
	info         relay.Info
	limit        time.Duration // for a session of which one side has ended
	begun        time.Time
	moved        [2]atomic.Int64 // by the leg that was read
	half         atomic.Bool     // one side has ended in order: the other has a time limit
	mailhostDone atomic.Bool     // what the client still sends is discarded
	clientDone   chan struct{}   // closed when nothing is read from the client any more
	stopped      atomic.Pointer[error]
}

// copiedSessions are the sessions of an Engine that its loops cannot serve.
type copiedSessions struct {
	mu  sync.Mutex
	all map[*copiedSession]struct{}
}

func (e *Engine) carryCopied(s *relay.Session) error {
	c := &copiedSession{info: s.Info, limit: s.HalfClose, begun: s.Info.Start, clientDone: make(chan struct{})}
	for n, conn := range [2]net.Conn{client: s.Client, mailhost: s.Mailhost} {
		var ok bool
		if c.conns[n], ok = conn.(halfCloser); !ok {
			return fmt.Errorf("%w: %T cannot end one direction", relay.ErrUnavailable, conn)
		}
		if d := descriptorOf(conn); d != nil {
			_ = d.Control(func(fd uintptr) { tune(int(fd), s.KeepAlive) })
		}
	}
	if c.limit <= 0 {
		c.limit = relay.DefaultHalfClosed
	}
	if c.begun.IsZero() {
		c.begun = time.Now()
	}
	if err := e.counts.acquire(s.Info); err != nil {
		return err
	}
	if s.Accepted != nil {
		s.Accepted()
	}
	e.history.taken.Add(1)
	e.copied.mu.Lock()
	e.copied.all[c] = struct{}{}
	e.copied.mu.Unlock()
	guard.Go(e.conf.Log, "a session", func() {
		err := errPanic // unless run returns
		defer func() {
			for _, conn := range c.conns {
				hangUp(conn, err, e.conf.Log)
			}
			e.account(c.info, c.stats(time.Now()), err)
		}()
		defer func() {
			e.copied.mu.Lock()
			defer e.copied.mu.Unlock()
			delete(e.copied.all, c)
		}()
		err = c.run(s.First, e.conf.Log)
	})
	return nil
}

// hangUp closes a connection; after a session that was broken off without close_notify: the end that one
// side did not say must not be told to the other.
func hangUp(conn net.Conn, err error, log func(string)) {
	defer guard.Recover(log, "a session", nil)
	if err != nil {
		connection.Bottom(conn).Close()
	}
	conn.Close()
}

// descriptorOf returns the socket of a connection, nil where there is none.
func descriptorOf(conn net.Conn) syscall.RawConn {
	sc, ok := connection.Bottom(conn).(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// run joins the two connections.
func (c *copiedSession) run(first []byte, log func(string)) error {
	pool := &sync.Pool{New: func() any { b := make([]byte, largeCopy); return &b }}
	var errs [2]error
	var running sync.WaitGroup
	direction := func(n int) {
		defer running.Done()
		defer guard.Recover(log, "a session", func() {
			errs[n] = errPanic
			c.stop(errPanic)
		})
		if n == client {
			defer close(c.clientDone)
		}
		if n == mailhost {
			if _, err := c.conns[client].Write(first); err != nil {
				c.interrupt(client) // nobody reads what the mailhost has to say
				errs[n] = err
				return
			}
		}
		errs[n] = c.copyOne(n, pool)
	}
	running.Add(2)
	go direction(mailhost)
	direction(client)
	running.Wait()
	if err := c.stopped.Load(); err != nil {
		if *err == relay.ErrStopped {
			c.deliver(client, stopTime)
			c.deliver(mailhost, stopTime)
		}
		return *err
	}
	if c.mailhostDone.Load() {
		return errs[mailhost]
	}
	err := errors.Join(errs[client], errs[mailhost])
	if c.half.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		err = relay.ErrHalfClosed
	}
	return err
}

// past is a deadline that ends reads and writes and leaves closing to the owner.
func past() time.Time { return time.Unix(1, 0) }

func (c *copiedSession) interrupt(n int) { _ = c.conns[n].SetDeadline(past()) }

// stop ends the session. When the program is ending, what has been read is still written.
func (c *copiedSession) stop(why error) {
	c.stopped.CompareAndSwap(nil, &why)
	c.interruptAll()
}

func (c *copiedSession) interruptAll() {
	why := c.stopped.Load()
	for n, conn := range c.conns {
		c.interrupt(n)
		if why != nil && *why == relay.ErrStopped {
			_ = conn.SetWriteDeadline(time.Now().Add(stopTime))
		}
	}
}

// arm gives the direction that reads leg n its time, counted from now.
func (c *copiedSession) arm(n int) {
	end := time.Now().Add(c.limit)
	_ = c.conns[n].SetReadDeadline(end)
	_ = c.conns[1-n].SetWriteDeadline(end)
	if c.stopped.Load() != nil {
		c.interruptAll()
	}
}

// copyOne copies what leg n sends until it ends, then ends the other's writing side. When either fails the
// other direction is ended too: its reader would wait for a peer who is gone.
func (c *copiedSession) copyOne(n int, pool *sync.Pool) error {
	src, dst := c.conns[n], c.conns[1-n]
	small := make([]byte, smallCopy)
	var large *[]byte
	for {
		buf := small
		if large != nil {
			buf = *large
		}
		if c.half.Load() {
			c.arm(n)
		}
		read, rerr := src.Read(buf)
		if n == client && c.mailhostDone.Load() {
			return c.discard(src, rerr)
		}
		if read > 0 {
			w, werr := dst.Write(buf[:read])
			c.moved[n].Add(int64(w))
			if werr != nil {
				_ = dst.SetReadDeadline(time.Now().Add(pause)) // what it sent before it went is still delivered
				if n == client {
					return c.discard(src, nil)
				}
				_ = src.SetReadDeadline(past())
				return werr
			}
		}
		switch {
		case large == nil && read == len(small):
			large = pool.Get().(*[]byte)
		case large != nil && read < len(small):
			pool.Put(large)
			large = nil
		}
		switch {
		case rerr == nil:
		case n == mailhost:
			return c.mailhostEnded(rerr)
		case errors.Is(rerr, io.EOF):
			_ = dst.CloseWrite() // dst may be gone already: that it cannot be told is no news then
			c.half.Store(true)
			c.arm(mailhost)
			return nil
		default:
			// Not an orderly end (a reset, TLS without close_notify): the flow back has nobody to read it.
			_ = dst.SetReadDeadline(past())
			_ = src.SetWriteDeadline(past())
			return rerr
		}
	}
}

// mailhostEnded ends the session: the client is told, and has its time to receive everything.
func (c *copiedSession) mailhostEnded(err error) error {
	if errors.Is(err, io.EOF) {
		err = nil
		_ = c.conns[client].CloseWrite()
	}
	c.mailhostDone.Store(true)
	_ = c.conns[mailhost].SetWriteDeadline(past()) // the client's direction may be waiting for it
	c.deliver(client, c.limit)
	if c.stopped.Load() == nil {
		_ = c.conns[client].SetReadDeadline(time.Now().Add(deliverTime))
	}
	return err
}

// deliver ends our direction of a connection, without close_notify where nobody has sent one, and waits
// until the peer has received everything, as long as it receives something within limit.
func (c *copiedSession) deliver(n int, limit time.Duration) {
	conn := connection.Bottom(c.conns[n])
	if half, ok := conn.(halfCloser); ok {
		_ = half.CloseWrite()
	}
	raw := descriptorOf(conn)
	tick := time.NewTicker(closeTick)
	defer tick.Stop()
	left := -1
	for end := time.Now().Add(limit); raw != nil && time.Now().Before(end); {
		queued := 0
		if err := raw.Control(func(fd uintptr) { queued = undelivered(int(fd)) }); err != nil || queued == 0 {
			return
		}
		if queued != left {
			left, end = queued, time.Now().Add(limit)
		}
		select {
		case <-c.clientDone: // it has gone, or the session was stopped
			if c.stopped.Load() == nil {
				return
			}
			<-tick.C
		case <-tick.C:
		}
	}
}

// discard forgets what the client sends after the mailhost's end, until the client ends too or its time is
// over.
func (c *copiedSession) discard(src net.Conn, err error) error {
	for buf := make([]byte, smallCopy); err == nil; {
		_, err = src.Read(buf)
	}
	return nil
}

func (c *copiedSession) stats(now time.Time) relay.Stats {
	return relay.Stats{FromClient: c.moved[client].Load(), FromMailhost: c.moved[mailhost].Load(),
		Duration: now.Sub(c.begun)}
}

func (c *copiedSessions) each(f func(*copiedSession)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.all {
		f(s)
	}
}

func (c *copiedSessions) list(now time.Time) (all []State) {
	c.each(func(s *copiedSession) {
		all = append(all, State{Info: s.info, Stats: s.stats(now), Copied: true})
	})
	return all
}

func (c *copiedSessions) kick(match func(relay.Info) bool) (n int) {
	c.each(func(s *copiedSession) {
		if match(s.info) {
			n++
			s.stop(relay.ErrKicked)
		}
	})
	return n
}

func (c *copiedSessions) stop() {
	c.each(func(s *copiedSession) { s.stop(relay.ErrStopped) })
}
