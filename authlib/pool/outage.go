package pool

import "sync/atomic"

// Outage turns the failures of many requests into one log line when they begin and one when they end.
type Outage struct {
	name   string
	logf   func(format string, args ...any)
	failed atomic.Int64 // requests in this outage
}

// NewOutage returns an Outage that calls the server name in its lines.
func NewOutage(name string, logf func(format string, args ...any)) *Outage {
	return &Outage{name: name, logf: logf}
}

// report counts the outcome of one request. Only errors marked by [Dead] are outages.
func (o *Outage) report(err error) {
	dead, again := isDead(err)
	switch {
	case dead && !again: // says nothing about the server
	case dead:
		if o.failed.Add(1) == 1 {
			o.logf("%s: out of reach, logins fail temporarily until it is back: %v", o.name, err)
		}
	case o.failed.Load() != 0:
		if n := o.failed.Swap(0); n != 0 {
			o.logf("%s: back after %d failed requests", o.name, n)
		}
	}
}
