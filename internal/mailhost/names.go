package mailhost

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// maxLookups are under way at a time, with two sockets each; others wait for a place.
	maxLookups = 32
	// patience is how long a login waits for a look-up where it can use an earlier answer.
	patience = time.Second
	// maxAnswerAge is how old an answer may be that is used while name servers do not answer: RFC 8767 section
	// 5 recommends one to three days.
	maxAnswerAge = 24 * time.Hour
	// maxNames bounds the answers that are remembered.
	maxNames = 4096
)

// errManyWait says that a login does not wait for a name's addresses, which nothing is known of.
var errManyWait = errors.New("too many logins wait for its addresses")

// Names keeps name servers that do not answer, or too slowly, from holding up logins: there is one look-up of
// a name at a time for all logins that need it, a login can use the last answer where the name servers do not
// give a new one, and otherwise no more logins wait than may at an address. While name servers answer, each
// answer is theirs. It is a part of Health; its methods may be called by many goroutines.
type Names struct {
	logins  int // that wait for one name at most
	now     func() time.Time
	events  Events
	lookups chan struct{} // has a token for each that is under way

	mu  sync.Mutex
	all map[string]*name
}

// name is what is known of a mailhost's name.
type name struct {
	addrs    []netip.Addr // the last answer; empty = no answer yet
	answered time.Time    // when it came
	silent   time.Time    // since when look-ups have had no answer; zero = the last one had
	lookup   *lookup      // under way
}

// lookup is a look-up under way, and its result once done is closed.
type lookup struct {
	began   time.Time
	waiting int // logins
	done    chan struct{}
	addrs   []netip.Addr
	err     error
}

// lookupFunc finds the addresses of a host name, as Dialer.Lookup.
type lookupFunc = func(ctx context.Context, host string) ([]netip.Addr, error)

func newNames(logins int, now func() time.Time, events Events) *Names {
	return &Names{
		logins: logins, now: now, events: events,
		lookups: make(chan struct{}, maxLookups), all: map[string]*name{},
	}
}

// find returns the addresses of host, for the caller to change: those that look finds, within limit, or finds
// for another login at this moment; those of the last answer when look fails, takes too long, or too many
// logins wait for it. The end of ctx ends the wait, not the look-up.
func (n *Names) find(ctx context.Context, host string, look lookupFunc, limit time.Duration) (
	[]netip.Addr, error,
) {
	l, old, err := n.join(ctx, host, look, limit)
	if err != nil {
		return nil, err
	}
	defer n.leave(l)
	var impatient <-chan time.Time
	if len(old) > 0 {
		timer := time.NewTimer(patience - n.now().Sub(l.began))
		defer timer.Stop()
		impatient = timer.C
	}
	select {
	case <-l.done:
		if l.err == nil {
			return slices.Clone(l.addrs), nil
		}
		if len(old) == 0 || isNoName(l.err) {
			return nil, l.err
		}
	case <-impatient:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return slices.Clone(old), nil
}

// join returns the look-up of host that is under way, which may have begun just now, and the last answer if
// that may be used.
func (n *Names) join(ctx context.Context, host string, look lookupFunc, limit time.Duration) (
	l *lookup, old []netip.Addr, err error,
) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.all[host]
	if a == nil {
		n.makeRoom()
		a = &name{}
		n.all[host] = a
	}
	now := n.now()
	if now.Sub(a.answered) < maxAnswerAge {
		old = a.addrs
	}
	if l = a.lookup; l == nil {
		l = &lookup{began: now, done: make(chan struct{})}
		a.lookup = l
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		go func() {
			defer cancel()
			l.addrs, l.err = n.ask(ctx, host, look)
			n.learn(host, a, l)
		}()
	}
	if l.waiting >= n.logins && len(old) == 0 {
		return nil, nil, errManyWait
	}
	l.waiting++
	return l, old, nil
}

func (n *Names) leave(l *lookup) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l.waiting--
}

// ask looks host up when there is a place for it.
func (n *Names) ask(ctx context.Context, host string, look lookupFunc) ([]netip.Addr, error) {
	select {
	case n.lookups <- struct{}{}:
		defer func() { <-n.lookups }()
		return look(ctx, host)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// learn ends the look-up l, of the name a.
func (n *Names) learn(host string, a *name, l *lookup) {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer close(l.done)
	a.lookup = nil
	now := n.now()
	isAnswer := l.err == nil || isNoName(l.err)
	switch {
	case isAnswer && !a.silent.IsZero():
		if n.events.Resolved != nil {
			n.events.Resolved(host, now.Sub(a.silent))
		}
		a.silent = time.Time{}
	case !isAnswer && a.silent.IsZero() && len(a.addrs) > 0:
		a.silent = now
		if n.events.Unresolved != nil {
			n.events.Unresolved(host, l.err)
		}
	}
	if l.err == nil {
		a.addrs, a.answered = l.addrs, now
	}
	if isNoName(l.err) || now.Sub(a.answered) >= maxAnswerAge {
		delete(n.all, host)
	}
}

// isNoName says whether err is a name server's answer that the name, or an address for it, does not exist.
func isNoName(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}

// makeRoom forgets the oldest answer where there are as many as may be. A name that is looked up at this
// moment stays: no more are looked up than there are logins.
func (n *Names) makeRoom() {
	if len(n.all) < maxNames {
		return
	}
	oldest := ""
	for host, a := range n.all {
		if a.lookup == nil && (oldest == "" || a.answered.Before(n.all[oldest].answered)) {
			oldest = host
		}
	}
	delete(n.all, oldest)
}
