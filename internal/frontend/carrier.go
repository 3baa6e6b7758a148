package frontend

import (
	"context"
	"sync"

	"mailproxy/internal/login"
	"mailproxy/internal/maillog"
	"mailproxy/internal/text"
	"mailproxy/relay"
	"mailproxy/relay/engine"
	"mailproxy/relay/pump"
)

// LogBroken says that a session that a Carrier had did not end in order: a reset, or TLS that was cut off
// without close_notify. Many clients just close their connection, so it is no warning.
func LogBroken(log *maillog.Log, info relay.Info, err error) {
	log.Infof("session broken off, ip=[%s], port=[%s]: %s",
		text.Field(info.RemoteIP), text.Field(info.RemotePort), login.Cause(err))
}

// ProcessCarrier is the engine of a process that serves one connection. It is started when it is needed, by
// then without root rights.
type ProcessCarrier struct {
	// Pumps is Options.Pumps.
	Pumps  *pump.Pumps
	log    *maillog.Log
	engine *engine.Engine

	mu     sync.Mutex // of the two below
	info   relay.Info
	broken error // why the session did not end in order
}

// NewProcessCarrier returns one that writes to log. Nothing is started yet.
func NewProcessCarrier(log *maillog.Log) *ProcessCarrier {
	return &ProcessCarrier{Pumps: &pump.Pumps{Log: log.Line}, log: log}
}

// Start is Options.Engine.
func (p *ProcessCarrier) Start() (relay.Carrier, error) {
	e, err := engine.New(engine.Config{Log: p.log.Line, Ended: p.ended})
	if err != nil {
		return nil, err
	}
	p.engine = e
	return e, nil
}

func (p *ProcessCarrier) ended(info relay.Info, _ relay.Stats, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.info, p.broken = info, err
}

// Wait waits until the session is over, if there is one, and returns the exit status. The end of ctx
// (SIGTERM, SIGHUP) ends it in order: what it holds is delivered, and both connections are closed.
func (p *ProcessCarrier) Wait(ctx context.Context) int {
	var err error
	if p.engine != nil {
		err = p.engine.Wait(ctx)
		p.engine.Shutdown(context.Background())
	}
	_ = p.Pumps.Wait(ctx)
	p.Pumps.Shutdown()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || p.broken == nil {
		return 0
	}
	LogBroken(p.log, p.info, p.broken)
	return 1
}
