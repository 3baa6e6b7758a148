package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/authlib"
)

// client is a connection to either socket. While it is silent it costs a goroutine and no buffer.
type client struct {
	conn *net.UnixConn
	raw  syscall.RawConn
	// silent is how long it may take for the rest of a request, write how long for reading an answer, or the
	// next piece of it.
	silent, write time.Duration
	buffers       *buffers
}

// Write writes all of b.
func (c *client) Write(b []byte) (int, error) {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.write)); err != nil {
		return 0, err
	}
	return c.conn.Write(b)
}

// receive has parse take a request, as soon as [authlib.Incomplete] is not true of its error, which is
// returned. It waits for the first byte no longer than wait, and not beyond the end of ctx.
func (c *client) receive(ctx context.Context, wait time.Duration, parse func([]byte) error) error {
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var have []byte
	defer func() { clear(have) }()
	deadline := time.Now().Add(wait)
	for {
		if err := c.conn.SetReadDeadline(deadline); err != nil {
			return err
		}
		if ctx.Err() != nil { // it may have ended before the deadline was set
			return ctx.Err()
		}
		rest, err := c.more(have, parse)
		if !authlib.Incomplete(err) {
			return err
		}
		if len(have) == 0 {
			deadline = time.Now().Add(c.silent)
		}
		clear(have)
		have = rest
	}
}

// more waits for bytes and has parse look at them, behind those that came before. Of an incomplete request it
// returns what there is.
func (c *client) more(have []byte, parse func([]byte) error) (rest []byte, err error) {
	werr := c.raw.Read(func(fd uintptr) bool {
		buf := c.buffers.get()
		defer c.buffers.put(buf)
		all := (*buf)[:cap(*buf)]
		begun := copy(all, have)
		n, rerr := unix.Read(int(fd), all[begun:])
		for rerr == unix.EINTR {
			n, rerr = unix.Read(int(fd), all[begun:])
		}
		switch {
		case rerr == unix.EAGAIN:
			return false
		case rerr != nil:
			err = rerr
		case n == 0 && begun < len(all):
			err = io.EOF
		case n == 0:
			err = authlib.ErrProtocol
		default:
			if err = parse(all[:begun+n]); authlib.Incomplete(err) {
				rest = bytes.Clone(all[:begun+n])
			}
		}
		return true
	})
	if werr != nil {
		return nil, werr
	}
	return rest, err
}
