package engine

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/relay"
	"mailproxy/relay/handoff"
)

// session is two connections being joined by a loop. While it idles this struct is all that is held of it,
// so it is kept small: the names are one string.
type session struct {
	flows   [2]flow // flows[i] reads leg i and writes the other
	legs    [2]leg
	start   int64       // seconds since 1970, as the clock showed them then
	begun   int64       // the same in steady seconds: the clock may be set meanwhile
	names   string      // user, protocol, ip, port, mailhost, separated by NUL
	half    *halfClosed // once one side has ended
	closing *closing    // set when the session has ended and bytes are still to be delivered
	limit   int32       // seconds that it may be half-closed without a byte moved
	slot    int32
	busy    bool // holds something that a pause gives back
	frozen  bool // stands still, to be moved to another process
}

// newSession makes a session of two non-blocking sockets.
func newSession(h *handoff.Session, fds [2]int) *session {
	i := h.Info
	now := time.Now()
	if i.Start.IsZero() {
		i.Start = now
	}
	s := &session{start: i.Start.Unix(), begun: steady(now) - int64(now.Sub(i.Start)/time.Second),
		limit: int32(min(h.HalfClose/time.Second, 1<<30)),
		names: strings.Join([]string{i.User, i.Protocol, i.RemoteIP, i.RemotePort, i.Mailhost}, "\x00")}
	for n := range s.legs {
		l := &h.Legs[n]
		s.legs[n] = leg{fd: fds[n], tls: l.TLS, in: l.Raw, ended: l.Ended}
	}
	return s
}

// queueInitial queues the bytes that come first: what the client is told, which is not counted, and
// what was read from either connection before.
func (s *session) queueInitial(h *handoff.Session) {
	for n, early := range [2][]byte{client: h.Legs[client].Plain, mailhost: h.Legs[mailhost].Plain} {
		f, dst := &s.flows[n], &s.legs[1-n]
		var err error
		if n == mailhost {
			err = dst.queue(h.First)
		}
		if err == nil {
			err = dst.queue(early)
		}
		if err != nil {
			f.unwritable, f.done, f.err = true, true, err
		}
		f.moved += int64(len(early))
	}
}

func (s *session) info() relay.Info {
	n := strings.SplitN(s.names, "\x00", 5)
	return relay.Info{User: n[0], Protocol: n[1], RemoteIP: n[2], RemotePort: n[3], Mailhost: n[4],
		Start: time.Unix(s.start, 0)}
}

func (s *session) stats(now time.Time) relay.Stats {
	return relay.Stats{FromClient: s.flows[client].moved, FromMailhost: s.flows[mailhost].moved,
		Duration: now.Sub(origin.Add(time.Duration(s.begun) * time.Second))}
}

// origin is where steady seconds begin.
var origin = time.Now()

// steady returns the seconds that have passed since origin, whatever the clock was set to.
func steady(now time.Time) int64 { return int64(now.Sub(origin) / time.Second) }

// waiting reports whether a peer does not take what is held for it.
func (s *session) waiting() bool {
	return s.flows[client].pending(&s.legs[mailhost]) || s.flows[mailhost].pending(&s.legs[client])
}

// move moves what can be moved after events on one leg.
func (s *session) move(b *buffers, n int, events uint32) {
	broken := uint32(unix.EPOLLERR | unix.EPOLLHUP)
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|broken) != 0 {
		s.flows[n].run(b, &s.legs[n], &s.legs[1-n])
	}
	if events&(unix.EPOLLOUT|broken) != 0 && s.flows[1-n].pending(&s.legs[n]) {
		s.flows[1-n].run(b, &s.legs[1-n], &s.legs[n])
	}
}

// moveFirst is move for what waits for no event: bytes that the session brought along, a TLS stream that
// has ended already.
func (s *session) moveFirst(b *buffers) {
	for n := range s.flows {
		f, src, dst := &s.flows[n], &s.legs[n], &s.legs[1-n]
		if f.pending(dst) || f.ended() || src.ended || len(src.in) > 0 {
			f.run(b, src, dst)
		}
	}
}

// want returns what epoll has to watch a leg for.
func (s *session) want(n int) (mask uint32) {
	if s.closing != nil {
		return s.closing.want(s, n)
	}
	in, out := &s.flows[n], &s.flows[1-n]
	if !in.done && !in.pending(&s.legs[1-n]) {
		mask |= unix.EPOLLIN
	}
	if !out.done && out.pending(&s.legs[n]) {
		mask |= unix.EPOLLOUT
	}
	return mask
}

// holds reports whether releaseIdle has something to give back.
func (s *session) holds() bool {
	for i := range s.flows {
		if s.flows[i].pipe != nil || s.legs[i].holds() {
			return true
		}
	}
	return false
}

// releaseIdle gives back what only traffic needs.
func (s *session) releaseIdle(b *buffers) {
	for i := range s.flows {
		s.flows[i].releaseIdle(b)
		s.legs[i].releaseIdle()
	}
}

// close lets both connections go.
func (s *session) close(b *buffers) {
	for i := range s.flows {
		s.flows[i].stop(b, nil)
	}
	closeAll(s.legs[client].fd, s.legs[mailhost].fd)
}
