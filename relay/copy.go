package relay

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

const (
	smallCopy = 1 << 10  // held by a direction that waits
	largeCopy = 32 << 10 // borrowed while more than that comes at once
)

// copyBoth joins connections that splice(2) does not serve.
func copyBoth(ctx context.Context, client, mailhost Conn) (s Stats, err error) {
	var wg sync.WaitGroup
	var upErr, downErr error
	stop := context.AfterFunc(ctx, func() {
		// A deadline in the past ends reads and writes and leaves closing to the owner.
		past := time.Unix(1, 0)
		_ = client.SetDeadline(past)
		_ = mailhost.SetDeadline(past)
	})
	defer stop()
	pool := &sync.Pool{New: func() any { b := make([]byte, largeCopy); return &b }}
	wg.Add(1)
	go func() {
		defer wg.Done()
		s.FromMailhost, downErr = copyOne(client, mailhost, pool)
	}()
	s.FromClient, upErr = copyOne(mailhost, client, pool)
	wg.Wait()
	if ctx.Err() != nil {
		return s, ctx.Err()
	}
	return s, errors.Join(upErr, downErr)
}

// copyOne copies until src ends, then ends dst's writing side. When either fails the other direction is ended too: its
// reader would wait for a peer who is gone.
func copyOne(dst, src Conn, pool *sync.Pool) (total int64, err error) {
	small := make([]byte, smallCopy)
	var large *[]byte
	for {
		buf := small
		if large != nil {
			buf = *large
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
