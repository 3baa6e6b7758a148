package relay

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	smallCopy = 1 << 10  // held by a direction that waits
	largeCopy = 32 << 10 // borrowed while more than that comes at once
)

// copyBoth joins connections that splice(2) does not serve.
func copyBoth(ctx context.Context, client, mailhost Conn, o Options) (s Stats, err error) {
	var wg sync.WaitGroup
	var upErr, downErr error
	stop := context.AfterFunc(ctx, func() {
		// A deadline in the past ends reads and writes and leaves closing to the owner.
		past := time.Unix(1, 0)
		_ = client.SetDeadline(past)
		_ = mailhost.SetDeadline(past)
	})
	defer stop()
	c := copier{halfClosed: o.halfClosed()}
	pool := &sync.Pool{New: func() any { b := make([]byte, largeCopy); return &b }}
	wg.Add(1)
	go func() {
		defer wg.Done()
		if _, err := io.WriteString(client, o.First); err != nil {
			_ = client.SetReadDeadline(time.Unix(1, 0)) // nobody reads what the mailhost has to say
			downErr = err
			return
		}
		s.FromMailhost, downErr = c.copyOne(client, mailhost, pool)
	}()
	s.FromClient, upErr = c.copyOne(mailhost, client, pool)
	wg.Wait()
	if ctx.Err() != nil {
		return s, ctx.Err()
	}
	err = errors.Join(upErr, downErr)
	if c.half.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrHalfClosed
	}
	return s, err
}

// copier is what the two directions of a session share.
type copier struct {
	halfClosed time.Duration
	half       atomic.Bool // one of them has ended in order: the other has a time limit
}

// arm gives what reads src and writes dst its time, counted from now.
func (c *copier) arm(dst, src Conn) {
	end := time.Now().Add(c.halfClosed)
	_ = src.SetReadDeadline(end)
	_ = dst.SetWriteDeadline(end)
}

// copyOne copies until src ends, then ends dst's writing side. When either fails the other direction is ended too: its
// reader would wait for a peer who is gone.
func (c *copier) copyOne(dst, src Conn, pool *sync.Pool) (total int64, err error) {
	small := make([]byte, smallCopy)
	var large *[]byte
	for {
		buf := small
		if large != nil {
			buf = *large
		}
		if c.half.Load() {
			c.arm(dst, src)
		}
		n, rerr := src.Read(buf)
		if n > 0 {
			w, werr := dst.Write(buf[:n])
			total += int64(w)
			if werr != nil {
				_ = src.SetReadDeadline(time.Unix(1, 0))
				_ = dst.SetReadDeadline(time.Now().Add(settle)) // what it sent before it went is still delivered
				return total, werr
			}
		}
		switch {
		case large == nil && n == len(small):
			large = pool.Get().(*[]byte)
		case large != nil && n < len(small):
			pool.Put(large)
			large = nil
		}
		if errors.Is(rerr, io.EOF) {
			_ = dst.CloseWrite() // dst may be gone already: that it can not be told is no news then
			c.half.Store(true)
			c.arm(src, dst)
			return total, nil
		}
		if rerr != nil {
			// Not an orderly end (a reset, TLS without close_notify): the flow back has nobody to read it.
			_ = dst.SetReadDeadline(time.Unix(1, 0))
			_ = src.SetWriteDeadline(time.Unix(1, 0))
			return total, rerr
		}
	}
}
