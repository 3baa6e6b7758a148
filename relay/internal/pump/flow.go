// Package pump moves bytes from one non-blocking socket to another: one Flow is one direction of a session. It keeps
// no buffer while nothing is on the way, so that ten thousand idle sessions cost next to nothing; small messages go
// through a buffer that all flows of a thread share, bulk goes through a pipe with splice(2), and TLS records are opened
// and sealed in the shared buffers.
package pump

import (
	"golang.org/x/sys/unix"
)

// Status tells what a flow waits for.
type Status uint8

const (
	Idle    Status = iota // the source has nothing to read for now
	Blocked               // the destination takes no more for now
	More                  // the turn is over, there may be more to do at once
	Done                  // the end of the stream was passed on, or the flow is dead
)

const (
	bulkSize = 16 << 10 // a read of this many bytes promises more: take a pipe
	turn     = 1 << 20  // bytes moved by one call of Run at most
)

// Flow is one direction of a session. The zero value is ready for use.
type Flow struct {
	Moved  int64 // bytes that the destination has taken; of TLS, what it carries
	Err    error // why the flow died, nil after an orderly end
	pipe   *pipe
	eof    bool // the source has ended
	ending bool // close_notify is on its way
	done   bool
	bulk   bool
}

// Done reports whether the flow is over.
func (f *Flow) Done() bool { return f.done }

// Ended reports whether the source has ended, also while what it has sent is still being passed on.
func (f *Flow) Ended() bool { return f.eof || f.done }

// Pending reports whether bytes have been read and not yet been written to dst.
func (f *Flow) Pending(dst *End) bool {
	return len(dst.Out) > 0 || f.pipe != nil && f.pipe.held > 0
}

// Run moves what can be moved from src to dst without waiting, in order: what is held first, then what src has, at most
// about a MiB. When src has ended and all has been written, dst is shut down for writing.
func (f *Flow) Run(s *Shop, src, dst *End) Status {
	for budget := turn; ; {
		if f.done {
			return Done
		}
		f.eof = f.eof || src.Ended
		if f.Pending(dst) {
			n, err := f.drain(dst)
			budget -= n
			if err == unix.EAGAIN {
				return Blocked
			}
			if err != nil {
				f.Stop(s, err)
				return Done
			}
		}
		switch {
		case f.eof && dst.TLS != nil && f.Err == nil && !f.ending:
			f.ending = true
			dst.Out, _ = dst.TLS.SealEnd(dst.Out)
			dst.Shut = true // nothing may follow
			continue
		case f.eof:
			// The destination may be gone; that it can not be told is no news then.
			_ = unix.Shutdown(dst.FD, unix.SHUT_WR)
			dst.Shut = true
			f.Stop(s, nil)
			return Done
		case budget <= 0:
			return More
		}
		n, more := f.fill(s, src, dst)
		budget -= n
		if !more {
			return Idle
		}
	}
}

// Prime gives the flow bytes that were taken from its source before.
func (f *Flow) Prime(dst *End, plain []byte) (err error) {
	f.Moved += int64(len(plain))
	if dst.TLS == nil || len(plain) == 0 {
		dst.Out = append(dst.Out, plain...)
		return nil
	}
	dst.Out, err = dst.TLS.Seal(dst.Out, plain)
	return err
}

// Want tells what a connection has to be watched for: in for bytes to read, out for room to write. from is the flow that
// reads it, to the flow that writes it.
func Want(from, to *Flow, self, other *End) (in, out bool) {
	in = !from.done && !from.Pending(other)
	out = !to.done && to.Pending(self)
	return in, out
}

// Stop ends the flow: what is held is dropped, the pipe goes back. err is why, nil for an orderly end.
func (f *Flow) Stop(s *Shop, err error) {
	if f.pipe != nil { // with bytes left in it, it is closed
		s.Pipes.put(f.pipe)
		f.pipe = nil
	}
	f.done = true
	if f.Err == nil {
		f.Err = err
	}
}

// Rest gives back what an idle flow does not need; nothing is lost.
func (f *Flow) Rest(s *Shop) {
	if f.pipe != nil && f.pipe.held == 0 {
		s.Pipes.put(f.pipe)
		f.pipe, f.bulk = nil, false
	}
}

// Bulky reports whether Rest has something to give back.
func (f *Flow) Bulky() bool { return f.pipe != nil }

// drain writes what is held. unix.EAGAIN: dst takes no more for now.
func (f *Flow) drain(dst *End) (n int, err error) {
	if n, err = dst.flush(); err != nil {
		return n, err
	}
	for f.pipe != nil && f.pipe.held > 0 {
		w, err := splice(f.pipe.r, dst.FD, f.pipe.held)
		if err != nil {
			return n, err
		}
		f.pipe.held -= w
		n += w
		f.Moved += int64(w)
	}
	return n, nil
}

// fill reads once and writes what can be written at once. more is false when the source has nothing else for now.
func (f *Flow) fill(s *Shop, src, dst *End) (n int, more bool) {
	plain := src.TLS == nil && dst.TLS == nil
	if plain && f.bulk && f.pipe == nil {
		f.pipe = s.Pipes.get()
	}
	if f.pipe != nil {
		n, err := splice(src.FD, f.pipe.w, f.pipe.size)
		switch {
		case err == unix.EINVAL: // this kind of descriptor can not: copy
			f.Rest(s)
		case err == unix.EAGAIN:
			return 0, false
		case err != nil || n == 0:
			f.ended(err)
			return 0, true
		default:
			f.pipe.held += n
			return 0, true
		}
	}
	buf, sealed := s.buffers(dst.TLS != nil)
	held := copy(buf, src.In)
	n, err := read(src.FD, buf[held:])
	switch {
	case err == unix.EAGAIN:
		return 0, false
	case err != nil || n == 0:
		if err == nil && src.TLS != nil && !src.Ended {
			err = ErrTruncated
		}
		f.ended(err)
		return 0, true
	}
	more = n >= bulkSize
	f.bulk = more
	pieces := [8][]byte{buf[:held+n]}
	data := pieces[:1]
	if src.TLS != nil {
		limit := len(pieces)
		if dst.TLS != nil {
			limit = 1
		}
		data, err = f.decrypt(src, buf[:held+n], pieces[:0:limit])
	}
	if len(data) > 0 {
		size := 0
		for _, p := range data {
			size += len(p)
		}
		if perr := dst.put(data, sealed); perr != nil {
			f.Stop(s, perr)
			return n, true
		}
		f.Moved += int64(size)
	}
	if err != nil || src.Ended {
		f.ended(err)
	}
	return n, more || f.eof || len(dst.Out) > 0
}

// decrypt opens what has been read, into list; err is an end that comes after data.
func (f *Flow) decrypt(src *End, raw []byte, list [][]byte) (data [][]byte, err error) {
	data, rest, err := src.open(raw, list)
	src.In = nil
	if len(rest) > 0 {
		src.In = append([]byte(nil), rest...)
	}
	if err != nil {
		return data, err
	}
	return data, src.answer()
}

// ended notes the end of the source. After an error (a reset) what was read before it is still delivered.
func (f *Flow) ended(err error) {
	f.eof = true
	if f.Err == nil {
		f.Err = err
	}
}

// State is what another process has to know of a flow to go on with it.
type State struct {
	Moved             int64
	EOF, Ending, Done bool
}

// Freeze gives everything back to be moved elsewhere: what the pipe holds goes to dst.Out.
func (f *Flow) Freeze(s *Shop, dst *End) (State, error) {
	if f.pipe != nil && f.pipe.held > 0 {
		n := len(dst.Out)
		dst.Out = append(dst.Out, make([]byte, f.pipe.held)...)
		for n < len(dst.Out) {
			r, err := read(f.pipe.r, dst.Out[n:])
			if err != nil || r == 0 {
				dst.Out = dst.Out[:n]
				return State{}, err
			}
			n += r
		}
		f.Moved += int64(f.pipe.held)
		f.pipe.held = 0
	}
	f.Rest(s)
	return State{f.Moved, f.eof, f.ending, f.done}, nil
}

// Thaw makes a flow of a State.
func Thaw(s State) Flow { return Flow{Moved: s.Moved, eof: s.EOF, ending: s.Ending, done: s.Done} }
