package mailhost

import "time"

// loginAttempt is one login under way at a mailhost: a slot among those that may be. A nil one is one that
// nobody counts.
type loginAttempt struct {
	h     *Health
	a     *address
	began time.Time
	trial bool // the mailhost is down, and this is the login that tries it
}

// answered says that the mailhost has answered, whether the login succeeded or not, and that the login is no
// longer under way.
func (l *loginAttempt) answered() {
	if l == nil {
		return
	}
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	a, now := l.a, l.h.now()
	since, turned := a.downAt, a.turned
	a.answered, a.failures, a.downAt, a.turned, a.trying = now, 0, time.Time{}, 0, false
	if !since.IsZero() && l.h.events.Up != nil {
		l.h.events.Up(a.Mailhost, now.Sub(since), turned)
	}
	l.release()
}

// failed says that nobody was there: refused, timed out, no greeting. err is why. Where the mailhost has
// answered another login since this one began, it says nothing any more.
func (l *loginAttempt) failed(err error) {
	if l == nil {
		return
	}
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	a := l.a
	if l.trial {
		a.trying = false
	}
	if !l.began.Before(a.answered) {
		a.failures++
	}
	if a.failures >= failuresUntilDown && a.downAt.IsZero() {
		a.downAt = l.h.now()
		a.nextTry = a.downAt.Add(l.h.retry)
		if l.h.events.Down != nil {
			l.h.events.Down(a.Mailhost, err)
		}
	}
	l.release()
}

// abandoned says that the login ended without telling anything about the mailhost: the program is told to
// stop, or has no file descriptors left. A login that was to try a mailhost that is down leaves that to the
// next one.
func (l *loginAttempt) abandoned() {
	if l == nil {
		return
	}
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	if l.trial {
		l.a.trying, l.a.nextTry = false, time.Time{}
	}
	l.release()
}

// release gives the slot up.
func (l *loginAttempt) release() {
	l.a.underWay--
	l.h.passOn(l.a)
}

// took is how long the login has been under way.
func (l *loginAttempt) took() time.Duration {
	if l == nil {
		return 0
	}
	return l.h.now().Sub(l.began)
}
