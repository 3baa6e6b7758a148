package main

import (
	"sync/atomic"
	"time"

	"mailproxy/internal/limits"
	"mailproxy/internal/loglimit"
	"mailproxy/internal/maillog"
	"mailproxy/internal/successor"
	"mailproxy/relay/counters"
	"mailproxy/relay/engine"
)

// service is one relayd: the engine, and the socket that front ends come to.
type service struct {
	conf       *config
	sockets    *sockets
	log        *maillog.Log
	engine     *engine.Engine
	counters   numbers
	callers    *successor.Part
	failed     chan error // that end the service
	reserve    successor.Reserve
	started    time.Time
	complaints loglimit.Limit // about callers who may not use the socket
	takenOver  *int           // sessions; nil: there was no relayd before this one
}

// numbers are what metrics and stats show.
type numbers struct {
	refused, full, denied atomic.Int64 // hand-overs
	reported, malformed   atomic.Int64 // REPORT messages
	reloadFailed          atomic.Bool  // the last one
	logins                *counters.Logins
}

func newService(c *config, sockets *sockets, log *maillog.Log) (*service, error) {
	s := &service{conf: c, sockets: sockets, log: log, started: time.Now(), failed: make(chan error, 1)}
	s.counters.logins = counters.NewLogins()
	s.callers = s.newCallers()
	s.reserve.Fill()
	var err error
	_, capacity := limits.Capacity(0)
	s.engine, err = engine.New(engine.Config{Loops: c.loops, Log: s.log.Line,
		Limits: engine.Limits{Sessions: c.max, PerAddress: c.maxPerIP, PerUser: c.maxPerUser,
			Capacity: capacity}})
	return s, err
}
