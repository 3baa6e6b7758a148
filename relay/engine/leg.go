package engine

import (
	"slices"

	"golang.org/x/sys/unix"

	"mailproxy/internal/connection"
	"mailproxy/relay/handoff"
	"mailproxy/relay/tlsrecord"
)

// The two legs of a session and, by the leg they read, its two flows.
const (
	client   = handoff.ClientLeg
	mailhost = handoff.MailhostLeg
)

// leg is one connection of a session: a non-blocking stream socket, with TLS or without.
type leg struct {
	fd    int
	tls   *tlsrecord.Codec // nil: plain
	in    []byte           // read and not yet decrypted: the beginning of a record
	out   []byte           // to be written before anything else
	mask  uint32           // what epoll watches it for; 0 = not at all
	ended bool             // TLS: close_notify was received; what follows means nothing
	shut  bool             // our direction has ended
}

// releaseIdle gives back what an idle connection does not need.
func (l *leg) releaseIdle() {
	if l.tls != nil {
		l.tls.Rest()
	}
}

// holds reports whether releaseIdle has something to give back.
func (l *leg) holds() bool { return l.tls != nil && l.tls.Armed() }

// gone reports whether the connection is over in both directions, as after a reset.
func (l *leg) gone() bool {
	revents, err := connection.Poll(l.fd, 0)
	return err == nil && revents&(unix.POLLERR|unix.POLLHUP) != 0
}

// flush writes out; done when nothing is left. Only then a key update that the peer of a TLS connection has
// requested is sent: a peer that sends requests and does not read gets one answer in all.
func (l *leg) flush() (n int, err error) {
	for {
		for len(l.out) > 0 {
			w, err := write(l.fd, l.out)
			if err != nil {
				return n, err
			}
			l.out = l.out[w:]
			n += w
		}
		l.out = nil
		if l.tls == nil || l.shut || !l.tls.Asked() {
			return n, nil
		}
		if l.out, err = l.tls.Seal(nil, nil); err != nil {
			return n, err
		}
	}
}

// answer sends what the peer has asked for, unless something is waiting to be written before it.
func (l *leg) answer() error {
	if l.tls == nil || l.shut || !l.tls.Asked() || len(l.out) > 0 {
		return nil
	}
	if _, err := l.flush(); err != nil && err != unix.EAGAIN {
		return err
	}
	return nil
}

// put sends the pieces of p; what follows the last byte that could be sent is kept in out, which must be
// empty. A TLS connection takes one piece only. sealed is scratch, and so is p afterwards.
func (l *leg) put(p [][]byte, sealed []byte) error {
	if l.tls != nil {
		raw, err := l.tls.Seal(sealed[:0], p[0])
		if err != nil {
			return err
		}
		p = append(p[:0], raw)
	}
	w, err := writeAll(l.fd, p)
	if err != nil && err != unix.EAGAIN {
		return err
	}
	for i, raw := range p {
		if w < len(raw) {
			p[i] = raw[w:]
			l.out = slices.Concat(p[i:]...) // of exactly that size: it may be held for long
			break
		}
		w -= len(raw)
	}
	return nil
}

// queue appends plain to what is to be written.
func (l *leg) queue(plain []byte) (err error) {
	if len(plain) == 0 {
		return nil
	}
	if l.tls == nil {
		l.out = append(l.out, plain...)
		return nil
	}
	l.out, err = l.tls.Seal(l.out, plain)
	return err
}

// open decrypts the whole records of raw in place, and lists what they carry in list, up to its capacity:
// further data are gathered after the last piece. rest is the beginning of a record that is not whole yet.
func (l *leg) open(raw []byte, list [][]byte) (data [][]byte, rest []byte, err error) {
	data = list[:0]
	for rest = raw; !l.ended; {
		n, err := l.tls.Split(rest)
		if err != nil {
			return data, nil, err
		}
		if n == 0 {
			return data, rest, nil
		}
		plain, ended, err := l.tls.Open(rest[:n])
		if err != nil {
			return data, nil, err
		}
		l.ended = ended
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
