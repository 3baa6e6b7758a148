package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/maillog"
	"mailproxy/internal/text"
)

// maxReasons is how many reasons of one outage the log has as they come; further ones wait for reasonPause.
const (
	maxReasons  = 10
	reasonPause = time.Minute
)

// watch turns a module's failures into one line when they begin, one for each further reason, so that mending
// the first mistake shows the second, and one when they end.
type watch struct {
	asked  atomic.Int64 // requests under way
	down   atomic.Bool  // spares the lock while all is well
	mu     sync.Mutex
	since  time.Time // of the first failure; zero = serving
	failed int
	// reasons are those in the log since then, see reasonOf; last is when the last of them came.
	reasons map[string]bool
	last    time.Time
}

// reasonOf is the text of an error without its numbers: errors that differ only in ports and durations have
// the same reason.
func reasonOf(err error) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, err.Error())
}

// errOthersWait says that a module is not asked: it does not answer those that were before.
var errOthersWait = errors.New("others wait for it already")

// failure is called for each question that a module could not answer.
func (w *watch) failure(l *maillog.Log, module string, err error, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed++
	if errors.Is(err, errOthersWait) { // nothing new
		return
	}
	reason := reasonOf(err)
	if w.reasons[reason] || len(w.reasons) >= maxReasons && now.Sub(w.last) < reasonPause {
		return
	}
	if w.since.IsZero() || len(w.reasons) >= maxReasons {
		w.reasons = make(map[string]bool)
	}
	if w.since.IsZero() {
		w.since = now
		w.down.Store(true)
	}
	w.reasons[reason], w.last = true, now
	// Modules with servers report their outages themselves.
	var logged interface{ Logged() bool }
	if !errors.As(err, &logged) || !logged.Logged() {
		l.Errf("%s: cannot answer, clients are told to come back later: %v", module, err)
	}
}

// success is called for each question that a module did answer.
func (w *watch) success(l *maillog.Log, module string, now func() time.Time) {
	if !w.down.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		return
	}
	w.down.Store(false)
	l.Infof("%s: answers again after %d s, %d requests failed",
		module, int(now().Sub(w.since)/time.Second), w.failed)
	w.since, w.failed, w.reasons = time.Time{}, 0, nil
}

// describe shows an account as Courier's DEBUG_LOGIN does.
func describe(a *authlib.Account) string {
	id := func(n *uint32) string {
		if n == nil {
			return "<null>"
		}
		return fmt.Sprint(*n)
	}
	value := func(s string) string {
		if s == "" {
			return "<null>"
		}
		return text.Field(s)
	}
	options := string(a.Options) // its commas separate the options
	if options == "" {
		options = value("")
	}
	return fmt.Sprintf(
		"sysusername=%s, sysuserid=%s, sysgroupid=%s, homedir=%s, address=%s, fullname=%s, maildir=%s, quota=%s, "+
			"options=%s",
		value(a.SystemUser), id(a.UID), id(a.GID), value(a.Home), value(a.Address), value(a.FullName),
		value(a.Maildir), value(a.Quota), options)
}
