package main

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/relay"
	"mailproxy/relay/internal/pump"
	"mailproxy/relay/internal/wire"
)

// The two legs of a session and, by the leg they read, its two flows.
const (
	client   = 0
	mailhost = 1
)

// session is two connections being joined. While it idles this struct is all that relayd holds of it, so it is kept
// small: the names are one string.
type session struct {
	flow  [2]pump.Flow // flow[i] reads leg i and writes the other
	end   [2]pump.End
	mask  [2]uint32 // what epoll watches the leg for; 0 = not at all
	slot  int32
	half  int32  // seconds that it may be half-closed without a byte moved
	ended bool   // one side has ended: it is on the loop's list
	busy  bool   // holds something that a pause gives back
	start int64  // seconds since 1970
	names string // user, protocol, ip, port, mailhost, separated by NUL
}

func newSession(i relay.Info, c, m pump.End) *session {
	return &session{end: [2]pump.End{c, m}, start: i.Start.Unix(), names: names(i)}
}

func names(i relay.Info) string {
	return strings.Join([]string{i.User, i.Protocol, i.RemoteIP, i.RemotePort, i.Mailhost}, "\x00")
}

func (s *session) info() relay.Info {
	n := strings.SplitN(s.names, "\x00", 5)
	return relay.Info{User: n[0], Protocol: n[1], RemoteIP: n[2], RemotePort: n[3], Mailhost: n[4], Start: time.Unix(s.start, 0)}
}

// neverWait makes connections non-blocking. That is part of the open file, which a front end has as well, and does not rely on.
func neverWait(fds []int) error {
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) stats(now time.Time) relay.Stats {
	return relay.Stats{FromClient: s.flow[client].Moved, FromMailhost: s.flow[mailhost].Moved, Duration: now.Sub(time.Unix(s.start, 0))}
}

// run moves what can be moved after events on one leg, and reports whether the session is over.
func (s *session) run(shop *pump.Shop, leg int, events uint32) (over bool) {
	broken := uint32(unix.EPOLLERR | unix.EPOLLHUP)
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|broken) != 0 {
		s.flow[leg].Run(shop, &s.end[leg], &s.end[1-leg])
	}
	if events&(unix.EPOLLOUT|broken) != 0 && s.flow[1-leg].Pending(&s.end[leg]) {
		s.flow[1-leg].Run(shop, &s.end[1-leg], &s.end[leg])
	}
	return s.over()
}

// over reports whether nothing is left to be done.
func (s *session) over() bool {
	if s.flow[client].Done() && s.flow[mailhost].Done() || s.flow[client].Cut() || s.flow[mailhost].Cut() {
		return true
	}
	// After a reset nobody reads what the other side may still send. It may come between an event and the reading.
	for leg := range s.flow {
		if f := &s.flow[leg]; f.Done() && f.Err != nil && s.end[leg].Gone() {
			return true
		}
	}
	return false
}

// want returns what epoll has to watch a leg for.
func (s *session) want(leg int) (mask uint32) {
	in, out := pump.Want(&s.flow[leg], &s.flow[1-leg], &s.end[leg], &s.end[1-leg])
	if in {
		mask |= unix.EPOLLIN
	}
	if out {
		mask |= unix.EPOLLOUT
	}
	return mask
}

// rest gives back what only traffic needs.
func (s *session) rest(shop *pump.Shop) {
	for i := range s.flow {
		s.flow[i].Rest(shop)
		s.end[i].Rest()
	}
}

// close lets both connections go.
func (s *session) close(shop *pump.Shop) {
	for i := range s.flow {
		s.flow[i].Stop(shop, nil)
	}
	wire.CloseAll([]int{s.end[client].FD, s.end[mailhost].FD})
}
