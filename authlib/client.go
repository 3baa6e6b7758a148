package authlib

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"mailproxy/internal/connection"
	"mailproxy/internal/peercred"
)

// DefaultDirectory holds the sockets of Debian's Courier and of this project's authdaemond, DefaultSocket is
// where both listen.
const (
	DefaultDirectory = "/run/courier/authdaemon"
	DefaultSocket    = DefaultDirectory + "/socket"
)

// IsCourierSocket tells whether a path is the one that Courier's own programs ask at.
func IsCourierSocket(path string) bool {
	path = filepath.Clean(path)
	return path == DefaultSocket || path == "/var"+DefaultSocket
}

// The time limits of a Client that sets none.
const (
	DefaultConnectTimeout = 10 * time.Second
	DefaultWriteTimeout   = 10 * time.Second
	DefaultReadTimeout    = 30 * time.Second
)

// ErrNoProgram is what a [Client.OneShot] returns when there is no daemon to start.
var ErrNoProgram = errors.New("no authdaemond to start")

// maxClientWait is what a negative time limit of a Client stands for: long, but not for ever.
const maxClientWait = time.Hour

// Client asks an authdaemon: one connection a request, or with Keep on connections that are kept. It may be
// used by many goroutines at once.
//
// Its methods return an error that is [ErrRefused] when the answer was no; every other error means that there
// was no answer: tell the user to come back later. Errors name the socket and the step; they never hold a
// password.
type Client struct {
	// Socket is the path of the daemon's socket; empty = [DefaultSocket].
	Socket string
	// ConnectTimeout (TIMEOUT_SOCK), WriteTimeout (TIMEOUT_WRITE) and ReadTimeout (TIMEOUT_READ) limit the three
	// steps of a request; 0 = the default.
	ConnectTimeout, WriteTimeout, ReadTimeout time.Duration
	// Users may listen on Socket, besides root and this process's own user: they are told every password.
	Users []string
	// OneShot, if not nil, returns a connection to a daemon started for one request. It is called when nobody
	// listens on Socket: no such file, or connection refused. At most 16 are connected at once. See [Starter].
	OneShot func(ctx context.Context) (net.Conn, error)
	// Keep is how many connections to the daemon's second socket, see [PersistentSocket], are kept for the next
	// questions of Authenticate and Lookup; 0 = the second socket is not used. Where there is none, Socket is
	// asked.
	Keep int

	pool    pool
	started slots
	// connections is how many connections to the second socket there are at once; 0 = maxConnections. Each
	// question has one of its own until it is answered; further ones wait.
	connections int
	// dialer connects to a socket within limit; nil = package net does. Tests set it.
	dialer func(ctx context.Context, socket string, limit time.Duration) (net.Conn, error)
}

// Authenticate returns the account that req proves to own.
func (c *Client) Authenticate(ctx context.Context, req *AuthRequest) (*Account, error) {
	return c.account(ctx, req)
}

// Lookup returns an account without a proof.
func (c *Client) Lookup(ctx context.Context, req *LookupRequest) (*Account, error) {
	return c.account(ctx, req)
}

// ChangePassword changes a password; [ErrRefused] when the old one is wrong or the account's module cannot
// change it.
func (c *Client) ChangePassword(ctx context.Context, req *PasswordRequest) error {
	return c.ask(ctx, req, func(r io.Reader) error {
		return readMessage(r, len(AnswerFail), func(answer []byte) error {
			switch string(answer) {
			case AnswerOK:
				return nil
			case AnswerFail:
				return ErrRefused
			}
			return errIncomplete
		})
	})
}

// Enumerate calls yield for each account of each module and ends with yield's first error. Only Address, UID,
// GID, Home, Maildir and Options are filled in. ReadTimeout limits each step of the list, not the whole.
func (c *Client) Enumerate(ctx context.Context, yield func(*Account) error) error {
	return c.ask(ctx, &EnumerateRequest{}, func(r io.Reader) error { return readListing(r, yield) })
}

// account asks for one account.
func (c *Client) account(ctx context.Context, req Request) (a *Account, err error) {
	if c.Keep > 0 {
		if a, ok, err := c.askKept(ctx, req); ok {
			return a, err
		}
	}
	err = c.ask(ctx, req, func(r io.Reader) error {
		a, err = readAccount(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// requestRoom is room for every AUTH that the daemon takes, with what stands before its body.
const requestRoom = maxAuthBody + 512

// ask sends req and has read take the answer.
func (c *Client) ask(ctx context.Context, req Request, read func(io.Reader) error) error {
	// It holds the password, is not to grow, which would leave copies behind, and is overwritten.
	msg, err := appendRequest(make([]byte, 0, requestRoom), req)
	defer func() { clear(msg[:cap(msg)]) }()
	if err != nil {
		return err
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer connection.Interrupt(ctx, conn.SetDeadline)()
	w := &patient{Conn: conn, ctx: ctx, limit: positive(c.WriteTimeout, DefaultWriteTimeout)}
	if _, err := w.Write(msg); err != nil && !errors.Is(err, syscall.EPIPE) {
		// A daemon that closes early may have said why: read on.
		return c.failed(ctx, "write", err)
	}
	err = read(&patient{Conn: conn, ctx: ctx, limit: positive(c.ReadTimeout, DefaultReadTimeout)})
	if err == nil || errors.Is(err, ErrRefused) {
		return err
	}
	return c.failed(ctx, "read", err)
}

// connect reaches the daemon, or starts one.
func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	conn, absent, err := c.reach(ctx)
	if !absent {
		return conn, err
	}
	if c.OneShot == nil {
		return nil, noProgram(err)
	}
	waited, busy := c.started.acquire(ctx, maxStarted)
	if busy != nil {
		return nil, c.failed(ctx, "waiting for a program to end", busy)
	}
	if waited { // the daemon may be back
		if conn, absent, err = c.reach(ctx); !absent {
			c.started.release()
			return conn, err
		}
	}
	conn, failed := c.OneShot(ctx)
	switch {
	case failed == nil:
		return &started{Conn: conn, release: c.started.release}, nil
	case errors.Is(failed, ErrNoProgram):
		err = noProgram(err)
	default:
		err = fmt.Errorf("nobody listens on %s, and starting authdaemond failed: %w", c.socket(), failed)
	}
	c.started.release()
	return nil, err
}

// reach reaches the daemon. absent says that nobody listens.
func (c *Client) reach(ctx context.Context) (conn net.Conn, absent bool, err error) {
	conn, err = c.dial(ctx, c.socket())
	if err != nil {
		absent = errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)
		return nil, absent, c.failed(ctx, "connect", err)
	}
	if err := c.checkListener(conn); err != nil {
		conn.Close()
		return nil, false, c.failed(ctx, "who listens", err)
	}
	return conn, false, nil
}

// noProgram is what reach's error becomes where there is no daemon to start.
func noProgram(err error) error { return fmt.Errorf("%w (is authdaemond running?)", err) }

// maxStarted is how many daemons started for one request a [Client] has at once; further requests wait. Each
// is a process with a connection to the database.
const maxStarted = 16

// started is a connection to a daemon started, which gives its slot back.
type started struct {
	net.Conn
	release func()
	once    sync.Once
}

// Close closes the connection, which ends the daemon.
func (s *started) Close() error {
	defer s.once.Do(s.release)
	return s.Conn.Close()
}

// dial connects to a socket.
func (c *Client) dial(ctx context.Context, socket string) (net.Conn, error) {
	limit := positive(c.ConnectTimeout, DefaultConnectTimeout)
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end))
	}
	if c.dialer != nil {
		return c.dialer(ctx, socket, limit)
	}
	dialer := net.Dialer{Timeout: limit}
	return dialer.DialContext(ctx, "unix", socket)
}

// checkListener looks who listens on the socket.
func (c *Client) checkListener(conn net.Conn) error {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return errors.New("not a socket")
	}
	err := peercred.Listener(sc, c.Users...)
	var refused *peercred.Refused
	if errors.As(err, &refused) {
		err = fmt.Errorf("%w (AUTHDAEMON_USER)", err)
	}
	return err
}

// socket is the path in use.
func (c *Client) socket() string {
	if c.Socket == "" {
		return DefaultSocket
	}
	return c.Socket
}

// failed says at which step the daemon did not answer on the first socket.
func (c *Client) failed(ctx context.Context, step string, err error) error {
	return failed(ctx, c.socket(), step, err)
}

// failed says at which step the daemon did not answer. A context that ended is the cause of what it broke.
func failed(ctx context.Context, socket, step string, err error) error {
	switch end, ok := ctx.Deadline(); {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case ok && !time.Now().Before(end): // the connection has noticed first
		err = context.DeadlineExceeded
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	switch {
	case err == io.ErrUnexpectedEOF:
		err = fmt.Errorf("closed without an answer (temporary failure, its log says why): %w", err)
	case errors.Is(err, ErrProtocol):
		err = fmt.Errorf("answer: %w", err)
	}
	return fmt.Errorf("authdaemond at %s: %s: %w", socket, step, err)
}

// positive returns d, or def for 0.
func positive(d, def time.Duration) time.Duration {
	switch {
	case d == 0:
		return def
	case d < 0:
		return maxClientWait
	}
	return d
}

// patient gives every read and write the same time.
type patient struct {
	net.Conn
	ctx   context.Context
	limit time.Duration
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.arm(p.SetReadDeadline); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.arm(p.SetWriteDeadline); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}

// arm sets a deadline, unless the context has already put an end to everything.
func (p *patient) arm(set func(time.Time) error) error {
	by := time.Now().Add(p.limit)
	if end, ok := p.ctx.Deadline(); ok && end.Before(by) {
		by = end
	}
	if err := set(by); err != nil {
		return err
	}
	// The context may have ended before the deadline was set, which then undid its own.
	return p.ctx.Err()
}
