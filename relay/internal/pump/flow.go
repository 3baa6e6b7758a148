// Package pump moves bytes from one non-blocking descriptor to another: one Flow is one direction of a session. It keeps
// no buffer while nothing is on the way, so that ten thousand idle sessions cost next to nothing; small messages go
// through a buffer that all flows of a thread share, bulk goes through a pipe with splice(2).
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
	scratchSize = 64 << 10 // bytes read at once where splice does not serve
	bulkSize    = 16 << 10 // a read of this many bytes promises more: take a pipe
	turn        = 1 << 20  // bytes moved by one call of Run at most
)

// Shop is what all flows of a thread share.
type Shop struct {
	Pipes   Pipes
	scratch []byte
}

// NewShop returns a Shop that makes at most pipes pipes.
func NewShop(pipes int) *Shop { return &Shop{Pipes: Pipes{Limit: pipes}} }

// buffer returns the shared buffer. It is mapped, not allocated, so that Release can give its pages back exactly.
func (s *Shop) buffer() []byte {
	if s.scratch == nil {
		b, err := unix.Mmap(-1, 0, scratchSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			b = make([]byte, scratchSize)
		}
		s.scratch = b
	}
	return s.scratch
}

// Release closes unused pipes and gives the pages of the shared buffer back. The buffer holds nothing between turns.
func (s *Shop) Release() {
	s.Pipes.Trim()
	if s.scratch != nil {
		_ = unix.Madvise(s.scratch, unix.MADV_DONTNEED)
	}
}

// Flow is one direction of a session. The zero value is ready for use.
type Flow struct {
	Moved int64  // bytes that the destination has taken
	Err   error  // why the flow died, nil after an orderly end
	buf   []byte // read and not yet written; nil nearly always
	pipe  *pipe
	eof   bool // the source has ended
	done  bool
	bulk  bool
}

// Done reports whether the flow is over.
func (f *Flow) Done() bool { return f.done }

// Pending returns how many bytes have been read and not yet written.
func (f *Flow) Pending() int {
	n := len(f.buf)
	if f.pipe != nil {
		n += f.pipe.held
	}
	return n
}

// Run moves what can be moved from src to dst without waiting, in order: what is held first, then what src has, at most
// a few MiB. When src has ended and all has been written, dst is shut down for writing.
func (f *Flow) Run(s *Shop, src, dst *End) Status {
	for budget := turn; ; {
		if f.done {
			return Done
		}
		if f.Pending() > 0 {
			n, ok := f.drain(dst.FD)
			budget -= n
			if f.done {
				f.Stop(s, f.Err)
				return Done
			}
			if !ok {
				return Blocked
			}
		}
		if f.eof {
			// The destination may be gone; that it can not be told is no news then.
			_ = unix.Shutdown(dst.FD, unix.SHUT_WR)
			f.Stop(s, nil)
			return Done
		}
		if budget <= 0 {
			return More
		}
		if !f.fill(s, src.FD, dst.FD) {
			return Idle
		}
	}
}

// Stop ends the flow: what is held is dropped, the pipe goes back. err is why, nil for an orderly end.
func (f *Flow) Stop(s *Shop, err error) {
	f.Rest(s)
	if f.pipe != nil { // bytes left in it: it is closed
		s.Pipes.put(f.pipe)
		f.pipe = nil
	}
	f.buf, f.done = nil, true
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

// drain writes what is held; ok when nothing is left. A destination that fails ends the flow.
func (f *Flow) drain(dst int) (n int, ok bool) {
	for len(f.buf) > 0 {
		w, err := write(dst, f.buf)
		if err != nil {
			return n, f.refused(err)
		}
		f.buf = f.buf[w:]
		n += w
		f.Moved += int64(w)
	}
	f.buf = nil
	for f.pipe != nil && f.pipe.held > 0 {
		w, err := splice(f.pipe.r, dst, f.pipe.held)
		if err != nil {
			return n, f.refused(err)
		}
		f.pipe.held -= w
		n += w
		f.Moved += int64(w)
	}
	return n, true
}

func (f *Flow) refused(err error) (ok bool) {
	if err != unix.EAGAIN {
		f.done, f.Err = true, err
	}
	return false
}

// fill reads once and writes what can be written at once; false when the source has nothing more for now.
func (f *Flow) fill(s *Shop, src, dst int) bool {
	if f.bulk && f.pipe == nil {
		f.pipe = s.Pipes.get()
	}
	if f.pipe != nil {
		n, err := splice(src, f.pipe.w, f.pipe.size)
		switch {
		case err == unix.EINVAL: // this kind of descriptor can not: copy
			f.Rest(s)
		case err == unix.EAGAIN:
			return false
		case err != nil || n == 0:
			f.ended(err)
			return true
		default:
			f.pipe.held += n
			return true
		}
	}
	buf := s.buffer()
	n, err := read(src, buf)
	switch {
	case err == unix.EAGAIN:
		return false
	case err != nil || n == 0:
		f.ended(err)
		return true
	}
	f.bulk = n >= bulkSize
	w, err := write(dst, buf[:n])
	if err != nil && err != unix.EAGAIN {
		f.done, f.Err = true, err
		return true
	}
	f.Moved += int64(w)
	if w < n {
		f.buf = append([]byte(nil), buf[w:n]...)
		return true
	}
	return n == len(buf) || f.bulk
}

// ended notes the end of the source. After an error (a reset) what was read before it is still delivered.
func (f *Flow) ended(err error) {
	f.eof = true
	if f.Err == nil {
		f.Err = err
	}
}

func read(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// write never raises SIGPIPE: Go's runtime ignores it on descriptors other than 1 and 2, and those are not used here.
func write(fd int, p []byte) (int, error) {
	for {
		n, err := unix.SendmsgN(fd, p, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if err == unix.ENOTSOCK {
			n, err = unix.Write(fd, p)
		}
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func splice(from, to, n int) (int, error) {
	for {
		m, err := unix.Splice(from, nil, to, nil, n, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if err != unix.EINTR {
			return int(max(m, 0)), err
		}
	}
}
