package handoff

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/connection"
	"mailproxy/internal/text"
	"mailproxy/relay"
)

const (
	answerTime = 5 * time.Second      // for relayd to take a session
	queuePause = 5 * time.Millisecond // while its listen queue is full: nothing tells when it no longer is
	attempts   = 3                    // a relayd that is being replaced hangs up
	silentTime = 10 * time.Second     // a relayd that has not answered in time is not asked again for so long
)

// Client is the relay.Carrier that gives sessions to relayd. It is for use by any number of goroutines.
type Client struct {
	// Socket is where relayd listens.
	Socket string
	// Trusted decides whether who listens on Socket is given sessions; nil: everybody is.
	Trusted func(c *net.UnixConn) error
	// Keep is how many connections to relayd are kept for the next sessions; 0: a program that hands over
	// one.
	Keep int

	mu     sync.Mutex
	idle   []*net.UnixConn
	silent time.Time // until then it is not asked, as it did not answer in time; zero: it has answered
}

// Carry is part of relay.Carrier. The user of this process must be one that relayd accepts.
func (c *Client) Carry(ctx context.Context, s *relay.Session) error { return carry(ctx, s, c.ask) }

// asker sends a message with two file descriptors and returns the answer. An error says that the message has
// not been acknowledged, and never will be.
type asker func(ctx context.Context, m *Message, raw [2]syscall.RawConn) (answer *Message, err error)

// carry gives a session to who answers to ask.
func carry(ctx context.Context, s *relay.Session, ask asker) error {
	h, raw, err := Describe(s)
	if err != nil {
		return unavailable(err)
	}
	answer, err := ask(ctx, h.Message(), raw)
	switch {
	case err != nil:
		return unavailable(err)
	case answer.Verb == OK:
		Release(s)
		if s.Accepted != nil {
			s.Accepted()
		}
		return nil
	case answer.Verb == Limit:
		return fmt.Errorf("%w: %s", relay.ErrLimit, text.Field(answer.Fields["REASON"]))
	}
	// For the log, where what relayd says must not look like other fields of the line.
	return unavailable(fmt.Errorf("the answer is %s %s", text.Field(answer.Verb),
		text.Field(answer.Fields["REASON"])))
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", relay.ErrUnavailable, err) }

// Close closes the connections that are kept.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.idle {
		conn.Close()
	}
	c.idle, c.Keep = nil, 0
}

// ask is an asker that relayd answers.
func (c *Client) ask(ctx context.Context, m *Message, raw [2]syscall.RawConn) (answer *Message, err error) {
	c.asks()
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	defer func() {
		if err == nil || caller.Err() == nil {
			err = c.heard(err, ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded))
		}
	}()
	for conn := c.kept(); conn != nil; conn = c.kept() {
		if answer, err = c.exchange(ctx, conn, m, raw); err == nil || !connection.HungUp(err) {
			return answer, err
		}
	}
	for range attempts {
		var conn *net.UnixConn
		if conn, err = c.connect(ctx); err != nil {
			return nil, err
		}
		if answer, err = c.exchange(ctx, conn, m, raw); err == nil || !connection.HungUp(err) {
			return answer, err
		}
	}
	return nil, err
}

// asks has others wait for nothing where a relayd is asked that did not answer last time.
func (c *Client) asks() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.silent.IsZero() {
		c.silent = time.Now().Add(silentTime)
	}
}

// heard notes whether relayd has answered in time, or hung up, and returns the error for the log.
func (c *Client) heard(err error, late bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil || !late {
		c.silent = time.Time{}
		return err
	}
	c.silent = time.Now().Add(silentTime)
	return fmt.Errorf("no answer within %v, so it is not asked for %v: %w", answerTime, silentTime, err)
}

// exchange is the function of that name, after which the connection is kept if it is of use.
func (c *Client) exchange(ctx context.Context, conn *net.UnixConn, m *Message, raw [2]syscall.RawConn) (
	*Message, error) {
	answer, usable, err := exchange(ctx, conn, m, raw)
	if usable {
		c.put(conn)
	} else {
		conn.Close()
	}
	return answer, err
}

// kept returns a connection that was kept and that relayd has not closed, nil when there is none. relayd
// closes those that are silent, and all when it is replaced.
func (c *Client) kept() *net.UnixConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := len(c.idle); n > 0; n = len(c.idle) {
		conn := c.idle[n-1]
		c.idle = c.idle[:n-1]
		if open(conn) {
			return conn
		}
		conn.Close()
	}
	return nil
}

// open reports whether the other end of a connection on which nothing is expected has not closed it.
func open(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	cerr := raw.Control(func(fd uintptr) {
		_, _, err = unix.Recvfrom(int(fd), nil, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return cerr == nil && err == unix.EAGAIN
}

// connect returns a new connection.
func (c *Client) connect(ctx context.Context) (*net.UnixConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unixpacket", c.Socket)
	for errors.Is(err, unix.EAGAIN) {
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(queuePause):
		}
		conn, err = d.DialContext(ctx, "unixpacket", c.Socket)
	}
	if err != nil {
		return nil, err
	}
	return c.trust(conn.(*net.UnixConn))
}

// trust returns a connection whose other end is trusted.
func (c *Client) trust(conn *net.UnixConn) (*net.UnixConn, error) {
	if c.Trusted == nil {
		return conn, nil
	}
	if err := c.Trusted(conn); err != nil {
		conn.Close()
		return nil, fmt.Errorf("%s: %w", c.Socket, err)
	}
	return conn, nil
}

func (c *Client) put(conn *net.UnixConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) >= c.Keep {
		conn.Close()
		return
	}
	c.idle = append(c.idle, conn)
}

// exchange sends a message with two file descriptors and waits for the answer. When the wait ends without
// one, it makes sure that there is none: relayd acknowledges before it touches a connection. usable says that
// the connection may be used for another message.
func exchange(ctx context.Context, conn *net.UnixConn, m *Message, raw [2]syscall.RawConn) (
	answer *Message, usable bool, err error) {
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	stop := connection.Interrupt(ctx, conn.SetDeadline)
	defer stop()
	if err := sendWith(conn, m, nil, raw[:]); err != nil {
		return nil, false, err
	}
	answer, fds, err := Receive(conn)
	CloseAll(fds)
	switch {
	case err == nil:
		return answer, stop(), nil // else the deadline may yet be set
	case connection.HungUp(err): // and has forgotten what it had not answered
		return nil, false, err
	}
	// From here on relayd can no longer acknowledge; if it has done so already, the answer is waiting.
	if rc, cerr := conn.SyscallConn(); cerr == nil {
		_ = rc.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	}
	stop()
	_ = conn.SetDeadline(time.Now().Add(answerTime))
	answer, fds, later := Receive(conn)
	CloseAll(fds)
	if later != nil {
		return nil, false, errors.Join(err, ctx.Err())
	}
	return answer, false, nil
}

// sendWith collects the file descriptors, each held open while the message is sent.
func sendWith(c *net.UnixConn, m *Message, fds []int, raw []syscall.RawConn) (err error) {
	if len(raw) == 0 {
		return Send(c, m, fds...)
	}
	cerr := raw[0].Control(func(fd uintptr) { err = sendWith(c, m, append(fds, int(fd)), raw[1:]) })
	return errors.Join(cerr, err)
}

// Available reports whether there is a relayd to ask, and that it is not one that has lately let others wait.
func (c *Client) Available() bool {
	c.mu.Lock()
	silent := time.Now().Before(c.silent)
	c.mu.Unlock()
	if c.Socket == "" || silent {
		return false
	}
	_, err := os.Stat(c.Socket)
	return err == nil
}
