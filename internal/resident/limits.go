package resident

import (
	"encoding"
	"net/netip"
	"time"

	"mailproxy/internal/config"
	"mailproxy/internal/frontend"
	"mailproxy/internal/launch"
	"mailproxy/internal/limits"
	"mailproxy/internal/loglimit"
	"mailproxy/internal/maillog"
	"mailproxy/internal/throttle"
)

// refuser turns connections away that exceed MAXUNAUTH.
type refuser struct {
	max          int
	text         string // for their clients
	log          *maillog.Log
	refusals     loglimit.Limit
	beingRefused chan struct{} // has a token for each of those that are being told
}

// refusalsEvery is how often the log tells of clients that are turned away.
const refusalsEvery = time.Minute

// maxBeingRefused is how many clients at a time are told the reason; others are just closed.
const maxBeingRefused = 256

func newRefuser(max int, text string, log *maillog.Log) *refuser {
	return &refuser{max: max, text: text, log: log, beingRefused: make(chan struct{}, maxBeingRefused)}
}

// refuse closes a connection and tells its client why, unless it expects TLS. It does not wait.
func (r *refuser) refuse(conn launch.Conn, tls bool) {
	remoteIP := launch.NewPeer(nil, conn).RemoteIP
	r.refusals.Count(refusalsEvery, func(n int) {
		r.log.Warnf("MAXUNAUTH: %d connections without a login are here, %d turned away, the last of ip=[%s]",
			r.max, n, remoteIP)
	})
	if tls {
		conn.Close()
		return
	}
	select {
	case r.beingRefused <- struct{}{}:
	default:
		conn.Close()
		return
	}
	go func() {
		defer func() { <-r.beingRefused }()
		defer conn.Close()
		now := time.Now()
		frontend.Farewell(conn, now, r.text)
		frontend.Linger(conn, now) // there may be unread bytes, as a PROXY header
	}()
}

// limitAddresses has failed logins and the connections of an address counted in this process.
func (s *service) limitAddresses(o *frontend.Options, c *config.Config) {
	limit := c.MaxUnauthPerIP
	o.Throttle = addresses{s.failures, limits.NewClients()}
	var refusals loglimit.Limit
	o.TooMany = func(remoteIP string) {
		s.statistics.ofAddress.Add(1)
		refusals.Count(refusalsEvery, func(n int) {
			s.log.Warnf("MAXUNAUTHPERIP=%d: %d connections turned away, the last of ip=[%s]", limit, n, remoteIP)
		})
	}
}

// addresses is the login.Throttle of a process that serves all connections.
type addresses struct {
	*throttle.Memory
	clients *limits.Clients
}

// Acquire is part of login.Throttle. A connection counts until it is released.
func (a addresses) Acquire(
	addr netip.Addr, limit int, _ time.Duration, _ time.Time,
) (bool, func() error, error) {
	release, ok := a.clients.Acquire(addr, limit)
	return ok, func() error { release(); return nil }, nil
}

// inherited is what a process passes on to its successor besides sockets and sessions.
type inherited interface {
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}

// inherited returns everything of that kind, by the name that it is passed on under.
func (s *service) inherited() map[string]inherited {
	return map[string]inherited{"failures": s.failures, "mailhosts": s.health, "names": s.health.Names}
}
