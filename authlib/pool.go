package authlib

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"mailproxy/internal/connection"
)

// maxConnections is how many connections to the second socket a [Client] has at once.
const maxConnections = 256

// absentTime is how long the second socket is not looked for again where there was none.
const absentTime = 10 * time.Second

// pool is a Client's connections to the daemon's second socket.
type pool struct {
	// slots bound the connections that are asked a question.
	slots slots

	mu sync.Mutex
	// idle are the connections kept, the one last used at the end.
	idle   []*keptConn
	closed bool
	// absent is until when the second socket is not looked for.
	absent time.Time
}

// keptConn is a connection to the second socket, for one question at a time.
type keptConn struct {
	net.Conn
	asked uint64
}

// errHungUp says that the daemon closed the connection and answered nothing.
var errHungUp = errors.New("closed without an answer")

// Close closes the connections that are kept; none are kept from then on. Questions under way go on.
func (c *Client) Close() {
	c.pool.mu.Lock()
	c.pool.closed = true
	c.pool.mu.Unlock()
	c.pool.drop()
}

// askKept asks for an account on the second socket. ok is false when nobody takes a question there: it is for
// the first socket then.
func (c *Client) askKept(ctx context.Context, req Request) (a *Account, ok bool, err error) {
	if c.pool.isAbsent() {
		return nil, false, nil
	}
	msg, err := appendRequest(make([]byte, 0, 512), req)
	defer func() { clear(msg) }()
	if err != nil || len(msg) > maxQuestion {
		return nil, err != nil, err
	}
	if _, err := c.pool.slots.acquire(ctx, cmp.Or(c.connections, maxConnections)); err != nil {
		return nil, true, c.keptFailed(ctx, "waiting for a connection", err)
	}
	defer c.pool.slots.release()
	if conn := c.pool.take(); conn != nil {
		a, err := c.askOn(ctx, conn, msg)
		if !errors.Is(err, errHungUp) {
			return a, true, err
		}
		// The daemon was restarted, or has closed an idle connection. As there was no answer, the question
		// can be asked again. Other connections of that age are probably closed as well.
		c.pool.drop()
	}
	conn, err := c.connectKept(ctx)
	if conn == nil {
		return nil, err != nil, err
	}
	a, err = c.askOn(ctx, conn, msg)
	return a, true, err
}

// askOn asks a question on a connection, which it keeps or closes. The error is errHungUp when the daemon
// closed the connection without a byte of an answer.
func (c *Client) askOn(ctx context.Context, conn *keptConn, msg []byte) (a *Account, err error) {
	conn.asked++
	frame := appendQuestion(make([]byte, 0, maxHeader+len(msg)), conn.asked, msg)
	var got bool
	usable := during(ctx, conn, func() bool {
		w := &patient{Conn: conn, ctx: ctx, limit: positive(c.WriteTimeout, DefaultWriteTimeout)}
		_, err = w.Write(frame)
		clear(frame)
		if err != nil {
			return false
		}
		r := &patient{Conn: conn, ctx: ctx, limit: positive(c.ReadTimeout, DefaultReadTimeout)}
		a, got, err = readFramedAccount(r, conn.asked)
		return whole(err)
	})
	if usable {
		c.pool.put(conn, c.Keep)
	} else {
		conn.Close()
	}
	switch {
	case err == nil || errors.Is(err, ErrRefused):
		return a, err
	case !got && ctx.Err() == nil && connection.HungUp(err):
		return nil, c.keptFailed(ctx, "read", fmt.Errorf("%w (temporary failure, its log says why)", errHungUp))
	}
	return nil, c.keptFailed(ctx, "read", err)
}

// keptFailed is failed for the second socket.
func (c *Client) keptFailed(ctx context.Context, step string, err error) error {
	return failed(ctx, PersistentSocket(c.socket()), step, err)
}

// during calls use while the end of ctx ends reads and writes of conn. It returns false when use does, or
// when ctx has ended: the deadlines are not what they were then.
func during(ctx context.Context, conn net.Conn, use func() bool) bool {
	stop := connection.Interrupt(ctx, conn.SetDeadline)
	usable := use()
	return stop() && usable
}

// whole tells whether err came with an answer that was read to its end.
func whole(err error) bool {
	var unusable *AccountError
	return err == nil || errors.Is(err, ErrRefused) || errors.Is(err, errTempfail) ||
		errors.As(err, &unusable)
}

// connectKept makes a connection to the second socket. It is nil without an error where there is no such
// socket, nobody greets, or with a version that is not known.
func (c *Client) connectKept(ctx context.Context) (*keptConn, error) {
	raw, err := c.dial(ctx, PersistentSocket(c.socket()))
	if err != nil {
		if ctx.Err() != nil {
			return nil, c.keptFailed(ctx, "connect", err)
		}
		c.pool.missing()
		return nil, nil
	}
	conn := &keptConn{Conn: raw}
	if err := c.checkListener(raw); err != nil {
		conn.Close()
		return nil, c.keptFailed(ctx, "who listens", err)
	}
	var line string
	usable := during(ctx, conn, func() bool {
		r := &patient{Conn: conn, ctx: ctx, limit: positive(c.ReadTimeout, DefaultReadTimeout)}
		line, err = readGreeting(r)
		return err == nil
	})
	switch {
	case usable && line == Greeting:
		return conn, nil
	case usable:
		c.pool.missing()
	case ctx.Err() != nil || !connection.HungUp(err):
		conn.Close()
		return nil, c.keptFailed(ctx, "greeting", err)
	}
	conn.Close()
	return nil, nil
}

// maxGreeting is the longest first line of a daemon that is read, in bytes.
const maxGreeting = 64

// readGreeting reads the daemon's first line, after which it says nothing unasked.
func readGreeting(r io.Reader) (line string, err error) {
	err = readMessage(r, maxGreeting, func(buf []byte) error {
		if line = string(buf); len(buf) < maxGreeting && !strings.HasSuffix(line, "\n") {
			return errIncomplete
		}
		return nil
	})
	return line, err
}

// take returns a connection that was kept, or nil.
func (p *pool) take() *keptConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	conn := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return conn
}

// put keeps a connection, unless keep are kept already.
func (p *pool) put(conn *keptConn, keep int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= keep {
		conn.Close()
		return
	}
	p.idle = append(p.idle, conn)
}

// drop closes the connections that are kept.
func (p *pool) drop() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, conn := range idle {
		conn.Close()
	}
}

// missing remembers for a while that there is no second socket.
func (p *pool) missing() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.absent = time.Now().Add(absentTime)
}

func (p *pool) isAbsent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.absent.IsZero() && time.Now().Before(p.absent)
}
