package engine

import (
	"errors"

	"golang.org/x/sys/unix"

	"mailproxy/relay/tlsrecord"
)

// status tells what a flow waits for.
type status uint8

const (
	idle    status = iota // the source has nothing to read for now
	blocked               // the destination takes no more for now
	more                  // the turn is over, there may be more to do at once
	done                  // the end of the stream was passed on, or the flow is dead
)

const (
	bulkSize = 16 << 10 // a read of this many bytes promises more: take a pipe
	turn     = 1 << 20  // bytes moved by one call of run at most
)

// flow is one direction of a session. The zero value is ready for use. It keeps no buffer while nothing is
// on the way; small messages go through the buffers that a loop shares, bulk goes through a pipe with
// splice(2), and TLS records are opened and sealed in the shared buffers.
type flow struct {
	moved      int64 // bytes that the destination has taken; of TLS, what it carries
	err        error // why the flow died, nil after an orderly end
	pipe       *pipe
	eof        bool // the source has ended
	ending     bool // close_notify is on its way
	done       bool
	unwritable bool // the destination has failed, not the source ended
	bulk       bool
}

// ended reports whether the source has ended, also while what it has sent is still being passed on.
func (f *flow) ended() bool { return f.eof || f.done }

// refused reports whether the flow is done because its source broke the TLS protocol, or said that we did.
// Then nobody is told of an orderly end.
func (f *flow) refused() bool {
	return f.done && f.err != nil &&
		(errors.Is(f.err, tlsrecord.ErrRecord) || errors.Is(f.err, tlsrecord.ErrAlert))
}

// truncated reports whether the flow is done because its source's TLS stream stopped without close_notify.
func (f *flow) truncated() bool { return f.done && errors.Is(f.err, tlsrecord.ErrTruncated) }

// pending reports whether bytes have been read and not yet been written to dst.
func (f *flow) pending(dst *leg) bool { return len(dst.out) > 0 || f.pipe != nil && f.pipe.held > 0 }

// run moves what can be moved from src to dst without waiting, in order: what is held first, then what src
// has, at most about a MiB. When src has ended and all has been written, dst is shut down for writing.
func (f *flow) run(b *buffers, src, dst *leg) status {
	for budget := turn; ; {
		if f.done {
			return done
		}
		f.eof = f.eof || src.ended
		if f.pending(dst) {
			n, err := f.drain(dst)
			budget -= n
			if err == unix.EAGAIN {
				return blocked
			}
			if err != nil {
				f.fail(b, err)
				return done
			}
		}
		switch {
		case f.eof && f.err == nil && dst.tls != nil && !f.ending:
			f.ending = true
			dst.out, _ = dst.tls.SealEnd(dst.out)
			dst.shut = true // nothing may follow
			continue
		case f.eof:
			f.stop(b, nil)
			if !f.refused() {
				// The destination may be gone; an error is of no interest then.
				_ = unix.Shutdown(dst.fd, unix.SHUT_WR)
				dst.shut = true
			}
			return done
		case budget <= 0:
			return more
		}
		n, again := f.fill(b, src, dst)
		budget -= n
		if !again {
			return idle
		}
	}
}

// stop ends the flow: what is held is dropped, the pipe goes back. err is why, nil for an orderly end.
func (f *flow) stop(b *buffers, err error) {
	if f.pipe != nil { // with bytes left in it, it is closed
		b.pipes.put(f.pipe)
		f.pipe = nil
	}
	f.done = true
	if f.err == nil {
		f.err = err
	}
}

// fail is stop because of the destination.
func (f *flow) fail(b *buffers, err error) {
	f.unwritable = true
	f.stop(b, err)
}

// releaseIdle gives back what an idle flow does not need; nothing is lost.
func (f *flow) releaseIdle(b *buffers) {
	if f.pipe != nil && f.pipe.held == 0 {
		b.pipes.put(f.pipe)
		f.pipe, f.bulk = nil, false
	}
}

// drain writes what is held. unix.EAGAIN: dst takes no more for now.
func (f *flow) drain(dst *leg) (n int, err error) {
	if n, err = dst.flush(); err != nil {
		return n, err
	}
	for f.pipe != nil && f.pipe.held > 0 {
		w, err := splice(f.pipe.r, dst.fd, f.pipe.held)
		if err != nil {
			return n, err
		}
		f.pipe.held -= w
		n += w
		f.moved += int64(w)
	}
	return n, nil
}

// fill reads once and writes what can be written at once. again is false when the source has nothing else
// for now.
func (f *flow) fill(b *buffers, src, dst *leg) (n int, again bool) {
	if src.tls == nil && dst.tls == nil && f.bulk && f.pipe == nil {
		f.pipe = b.pipes.get()
	}
	if f.pipe != nil {
		n, err := splice(src.fd, f.pipe.w, f.pipe.size)
		switch {
		case err == unix.EINVAL: // this kind of file descriptor cannot: copy
			f.releaseIdle(b)
		case err == unix.EAGAIN:
			return 0, false
		case err != nil || n == 0:
			f.end(err)
			return 0, true
		default:
			f.pipe.held += n
			return 0, true
		}
	}
	buf, sealed := b.scratch(dst.tls != nil)
	held := copy(buf, src.in)
	n, err := read(src.fd, buf[held:])
	switch {
	case err == unix.EAGAIN:
		return 0, false
	case err != nil || n == 0:
		if err == nil && src.tls != nil && !src.ended {
			err = tlsrecord.ErrTruncated
		}
		f.end(err)
		return 0, true
	}
	again = n >= bulkSize
	f.bulk = again
	pieces := [8][]byte{buf[:held+n]}
	data := pieces[:1]
	if src.tls != nil {
		limit := len(pieces)
		if dst.tls != nil {
			limit = 1
		}
		data, err = decrypt(src, buf[:held+n], pieces[:0:limit])
	}
	if len(data) > 0 {
		size := 0
		for _, p := range data {
			size += len(p)
		}
		if perr := dst.put(data, sealed); perr != nil {
			f.fail(b, perr)
			return n, true
		}
		f.moved += int64(size)
	}
	if err != nil || src.ended {
		f.end(err)
	}
	return n, again || f.eof || len(dst.out) > 0
}

// decrypt opens what has been read, into list; err is an end that comes after data.
func decrypt(src *leg, raw []byte, list [][]byte) (data [][]byte, err error) {
	data, rest, err := src.open(raw, list)
	src.in = nil
	if len(rest) > 0 {
		src.in = append([]byte(nil), rest...)
	}
	if err != nil {
		return data, err
	}
	return data, src.answer()
}

// end notes the end of the source. After an error (a reset) what was read before it is still delivered.
func (f *flow) end(err error) {
	f.eof = true
	if f.err == nil {
		f.err = err
	}
}

// empty takes what the pipe holds into dst.out, where it can be moved to another process.
func (f *flow) empty(b *buffers, dst *leg) error {
	if f.pipe != nil && f.pipe.held > 0 {
		n := len(dst.out)
		dst.out = append(dst.out, make([]byte, f.pipe.held)...)
		for n < len(dst.out) {
			r, err := read(f.pipe.r, dst.out[n:])
			if err != nil || r == 0 {
				dst.out = dst.out[:n]
				return errors.Join(errors.New("a pipe holds less than was written to it"), err)
			}
			n += r
			f.moved += int64(r)
			f.pipe.held -= r
		}
	}
	f.releaseIdle(b)
	return nil
}
