package resident

import (
	"encoding"
	"net/netip"
	"sync/atomic"
	"time"

	"mailproxy/internal/config"
	"mailproxy/internal/frontend"
	"mailproxy/internal/launch"
	"mailproxy/internal/limits"
	"mailproxy/internal/maillog"
	"mailproxy/internal/throttle"
)

// entrance bounds how many connections there are that have not logged in (MAXUNAUTH).
type entrance struct {
	max      int64
	now      atomic.Int64
	text     string // for those that are turned away
	refusals *limits.Refusals
	leaving  chan struct{} // the places of those that are being told
}

// maxLeaving is how many clients are told at a time that there is no room; more are cut off without a word.
const maxLeaving = 256

func newEntrance(max int, text string, log *maillog.Log) *entrance {
	return &entrance{
		max: int64(max), text: text, leaving: make(chan struct{}, maxLeaving),
		refusals: limits.NewRefusals(func(n int, last string) {
			log.Warnf("MAXUNAUTH: %d connections without a login are here, %d turned away, the last of ip=[%s]",
				max, n, last)
		}),
	}
}

// enter counts one more connection, unless there are as many as there may be.
func (e *entrance) enter() bool {
	if e.now.Add(1) > e.max {
		e.now.Add(-1)
		return false
	}
	return true
}

func (e *entrance) leave() { e.now.Add(-1) }

// turnAway closes a connection and tells its client why, unless it expects TLS. It does not wait.
func (e *entrance) turnAway(conn launch.Conn, tls bool) {
	e.refusals.Refused(launch.NewPeer(nil, conn).RemoteIP)
	if tls {
		conn.Close()
		return
	}
	select {
	case e.leaving <- struct{}{}:
	default:
		conn.Close()
		return
	}
	go func() {
		defer func() { <-e.leaving }()
		defer conn.Close()
		now := time.Now()
		frontend.Farewell(conn, now, e.text)
		frontend.Linger(conn, now) // there may be unread bytes, as a PROXY header
	}()
}

// limitAddresses has failed logins and the connections of an address counted in this process.
func (s *service) limitAddresses(o *frontend.Options, c *config.Config) {
	limit := c.MaxUnauthPerIP
	o.Throttle = addresses{s.failures, limits.NewClients()}
	refusals := limits.NewRefusals(func(n int, last string) {
		s.log.Warnf("MAXUNAUTHPERIP=%d: %d connections turned away, the last of ip=[%s]", limit, n, last)
	})
	o.TooMany = refusals.Refused
}

// addresses is the login.Throttle of a process that serves all connections.
type addresses struct {
	*throttle.Memory
	clients *limits.Clients
}

// Enter is part of login.Throttle. A connection counts until it leaves.
func (a addresses) Enter(
	addr netip.Addr, limit int, _ time.Duration, _ time.Time,
) (bool, func() error, error) {
	leave, ok := a.clients.Enter(addr, limit)
	return ok, func() error { leave(); return nil }, nil
}

// inherited is what a process passes on to its successor besides sockets and sessions.
type inherited interface {
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}

// inherited returns everything of that kind, by the name that it is passed on under.
func (s *service) inherited() map[string]inherited {
	return map[string]inherited{"failures": s.failures, "mailhosts": s.health}
}
