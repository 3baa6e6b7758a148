package frontend

import (
	"net/netip"
	"time"

	"mailproxy/internal/throttle"
)

// enter counts this connection among those of its client that have not logged in, and says whether there is
// room for it. Without THROTTLE_FILE there always is; so there is when the table does not work, which is
// logged.
func (s *Session) enter() bool {
	addr, ok := s.openThrottle()
	if !ok || s.Config.MaxUnauthPerIP == 0 {
		return true
	}
	// The entry of a process that is killed must not outlive the process by much.
	lifetime := s.Config.LoginTimeout + 10*time.Second
	entered, leave, err := s.throttle.Enter(addr, s.Config.MaxUnauthPerIP, lifetime, s.System.Now())
	if err != nil {
		s.logThrottle(err)
		return true
	}
	if !entered {
		s.logTooMany()
		return false
	}
	s.leave = leave
	return true
}

// left says that this connection no longer counts: it has logged in, or it ends.
func (s *Session) left() {
	if s.leave == nil {
		return
	}
	if err := s.leave(); err != nil {
		s.logThrottle(err)
	}
	s.leave = nil
}

// failDelay counts a refused login, for its address and for the name that it was under, and returns how long
// its answer is to wait at least. Failures that are not the client's fault wait too, which slows retry
// storms, but do not count. The name alone never makes a wait longer than Config.FailDelayMax, and never
// makes a login fail: guesses from many addresses are slowed, nobody is locked out.
func (s *Session) failDelay(refused bool) time.Duration {
	addr, ok := s.openThrottle()
	if !ok || !refused {
		return s.Config.FailDelay
	}
	n, err := s.throttle.Failed(addr, s.System.Now())
	if err == nil && s.tally.name != "" {
		var named int
		named, err = s.throttle.FailedName(s.tally.name, s.System.Now())
		n = max(n, named)
	}
	if err != nil {
		s.logThrottle(err)
	}
	return throttle.Delay(n, s.Config.FailDelay, s.Config.FailDelayMax)
}

// answerAfter is how long after the credentials a refusal is answered that is to wait for at least delay: a
// multiple of unit. Took is the time that has passed. With the rest of the wait measured from the answer of
// whoever was asked, a name that nobody has, a slow hash and a slow mailhost could be told apart by time.
func answerAfter(took, delay, unit time.Duration) time.Duration {
	if unit <= 0 {
		return 0
	}
	least := max(took, delay)
	return (least + unit - 1) / unit * unit
}

// openThrottle opens the table when it is first needed, and returns the client's address.
func (s *Session) openThrottle() (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s.Peer.RemoteIP)
	if err != nil || s.Config.ThrottleFile == "" || s.noThrottle {
		return netip.Addr{}, false
	}
	if s.throttle == nil {
		table, err := throttle.Open(s.Config.ThrottleFile)
		if err != nil {
			s.logThrottle(err)
			s.noThrottle = true
			return netip.Addr{}, false
		}
		s.throttle = table
	}
	return addr, true
}

func (s *Session) logThrottle(err error) {
	s.Log.Warnf("THROTTLE_FILE: %v; logins are not slowed down", err)
}

func (s *Session) logTooMany() {
	s.Log.Always().Noticef("Maximum of %d connections without a login reached, %s", s.Config.MaxUnauthPerIP, s.where())
}

// closeThrottle closes the table before root is given up: who takes over a process that relays must not be
// able to change it.
func (s *Session) closeThrottle() {
	if s.throttle == nil {
		return
	}
	s.left()
	_ = s.throttle.Close()
	s.throttle = nil
}

// dropRoot gives up root rights, and what only root may have open.
func (s *Session) dropRoot() error {
	s.closeThrottle()
	return s.System.DropRoot(s.Config.RelayUser)
}
