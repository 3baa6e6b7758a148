package pump

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// Cut reports whether the flow is done because its source's TLS stream was cut off. Then the session is over: the other
// direction must not end in order either, and may have nobody to read it.
func (f *Flow) Cut() bool { return f.done && errors.Is(f.Err, ErrTruncated) }

// End is one connection of a session: a non-blocking stream socket, with TLS or without.
type End struct {
	FD    int
	TLS   *Codec // nil: plain
	In    []byte // read and not yet decrypted: the beginning of a record
	Out   []byte // to be written before anything else
	Ended bool   // TLS: close_notify was received; what follows means nothing
	Shut  bool   // our direction has ended
}

// Rest gives back what an idle connection does not need.
func (e *End) Rest() {
	if e.TLS != nil {
		e.TLS.Rest()
	}
}

// Bulky reports whether Rest has something to give back.
func (e *End) Bulky() bool { return e.TLS != nil && e.TLS.Armed() }

// Gone reports whether the connection is over in both directions, as after a reset.
func (e *End) Gone() bool {
	p := []unix.PollFd{{Fd: int32(e.FD)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

// flush writes Out; done when nothing is left.
func (e *End) flush() (n int, err error) {
	for len(e.Out) > 0 {
		w, err := write(e.FD, e.Out)
		if err != nil {
			return n, err
		}
		e.Out = e.Out[w:]
		n += w
	}
	e.Out = nil
	return n, nil
}

// put sends the pieces of p, or what follows the last byte that could be sent is kept in Out, which must be empty. A TLS
// connection takes one piece only. sealed is scratch, and so is p afterwards.
func (e *End) put(p [][]byte, sealed []byte) error {
	if e.TLS != nil {
		raw, err := e.TLS.Seal(sealed[:0], p[0])
		if err != nil {
			return err
		}
		p = append(p[:0], raw)
	}
	w, err := writeAll(e.FD, p)
	if err != nil && err != unix.EAGAIN {
		return err
	}
	for i, raw := range p {
		if w < len(raw) {
			p[i] = raw[w:]
			e.Out = slices.Concat(p[i:]...) // of exactly that size: it may be held for long
			break
		}
		w -= len(raw)
	}
	return nil
}

// open decrypts the whole records of raw in place, and lists what they carry in list, up to its capacity: further data are
// gathered behind the last piece. rest is the beginning of a record that is not whole yet.
func (e *End) open(raw []byte, list [][]byte) (data [][]byte, rest []byte, err error) {
	data = list[:0]
	for rest = raw; !e.Ended; {
		n, err := e.TLS.Split(rest)
		if err != nil {
			return data, nil, err
		}
		if n == 0 {
			return data, rest, nil
		}
		plain, ended, err := e.TLS.Open(rest[:n])
		if err != nil {
			return data, nil, err
		}
		e.Ended = ended
		last := len(data) - 1
		switch {
		case len(plain) == 0:
		case len(data) < cap(list):
			data = append(data, plain)
		default:
			data[last] = append(data[last], plain...) // to the left: what is carried is shorter than its record
		}
		rest = rest[n:]
	}
	return data, nil, nil
}

// Take makes a TLS connection of e, as detached from crypto/tls, and returns what has been decrypted already.
func (e *End) Take(d *Detached) (plain []byte) {
	e.TLS, e.In, e.Ended = d.Codec, d.Raw, d.Ended
	return d.Plain
}

// answer queues what the peer of a TLS connection has asked for (a key update). It is sent with the next bytes or at once.
func (e *End) answer() error {
	if e.TLS == nil || e.Shut || !e.TLS.Asked() || len(e.Out) > 0 {
		return nil
	}
	var err error
	if e.Out, err = e.TLS.Seal(e.Out, nil); err != nil {
		return err
	}
	if _, err = e.flush(); errors.Is(err, unix.EAGAIN) {
		return nil
	}
	return err
}
