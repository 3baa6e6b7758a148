package login

import (
	"net/netip"
	"time"

	"mailproxy/internal/throttle"
)

// AcquireUnauth counts this connection among those of its client that have not logged in, and says whether
// there is room for it. Without a memory there always is; so there is when the table does not work, which is
// logged, and for the checks of a load balancer, which would take a proxy out of service that turns them
// away.
func (s *Session) AcquireUnauth() bool {
	if s.Config.MaxUnauthPerIP == 0 || s.HealthCheck {
		return true
	}
	acquired := s.acquireUnauth(s.Config.MaxUnauthPerIP)
	if !acquired {
		s.logTooMany()
	}
	return acquired
}

// acquireUnauth counts this connection unless there are limit of them, and says whether there is room for it.
func (s *Session) acquireUnauth(limit int) bool {
	memory, addr := s.memory()
	if memory == nil {
		return true
	}
	// The entry of a process that is killed must not outlive the process by much.
	lifetime := s.Config.LoginTimeout + maxHold + 10*time.Second
	acquired, release, err := memory.Acquire(addr, limit, lifetime, s.service.System.Now())
	if err != nil {
		s.logThrottle(err)
		return true
	}
	if acquired {
		s.release = release
	}
	return acquired
}

// ReleaseUnauth says that this connection no longer counts: it has logged in, or it ends.
func (s *Session) ReleaseUnauth() {
	if s.release == nil {
		return
	}
	if err := s.release(); err != nil {
		s.logThrottle(err)
	}
	s.release, s.released = nil, true
}

// countAgain counts a connection again whose login has failed after ReleaseUnauth, even if that exceeds the
// limit: otherwise a client over a limit of sessions could have any number of uncounted connections.
func (s *Session) countAgain() {
	const any = 1 << 24 // more than a process can have
	if s.released {
		s.released = false
		_ = s.acquireUnauth(any)
	}
}

// failDelay counts a refused login, for its address and for the name that it was under, and returns how long
// its answer is to wait at least. Failures that are not the client's fault wait too, which slows retry
// storms, but do not count. The name alone never makes a wait longer than Config.FailDelayMax, and never
// makes a login fail: guesses from many addresses are slowed, nobody is locked out.
func (s *Session) failDelay(refused bool) time.Duration {
	memory, addr := s.memory()
	if memory == nil || !refused || s.Config.ThrottleFile == "" {
		return s.Config.FailDelay
	}
	n, err := memory.Failed(addr, s.service.System.Now())
	if err == nil && s.attempt.name != "" {
		var named int
		named, err = memory.FailedName(s.attempt.name, s.service.System.Now())
		n = max(n, named)
	}
	if err != nil {
		s.logThrottle(err)
	}
	return throttle.Delay(n, s.Config.FailDelay, s.Config.FailDelayMax)
}

// answerAfter returns how long after the credentials a refusal is answered: the first multiple of unit that
// is at least delay and not over yet. took is the time that has passed. If the delay began with the answer of
// a server that was asked, the time would tell an unknown name, a slow hash and a slow mailhost apart.
func answerAfter(took, delay, unit time.Duration) time.Duration {
	if unit <= 0 {
		return 0
	}
	least := max(took, delay)
	return (least + unit - 1) / unit * unit
}

// memory returns the memory of failed logins and the client's address; nil when there is none, or when the
// table does not work, which is logged. THROTTLE_FILE is opened when it is first needed.
func (s *Session) memory() (Throttle, netip.Addr) {
	addr, err := netip.ParseAddr(s.Peer.RemoteIP)
	switch {
	case err != nil:
		return nil, addr
	case s.service.Throttle != nil:
		return s.service.Throttle, addr
	case s.throttleFile != nil:
		return s.throttleFile, addr
	case s.Config.ThrottleFile == "" || s.noThrottle:
		return nil, addr
	}
	table, err := throttle.Open(s.Config.ThrottleFile)
	if err != nil {
		s.logThrottle(err)
		s.noThrottle = true
		return nil, addr
	}
	s.throttleFile = table
	return table, addr
}

// CloseThrottle says that this connection has logged in or ends, and closes the file: an
// intruder in a process that relays must not be able to change it.
func (s *Session) CloseThrottle() {
	s.ReleaseUnauth()
	if s.throttleFile != nil {
		_ = s.throttleFile.Close()
		s.throttleFile = nil
	}
}
