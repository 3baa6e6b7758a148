package handoff

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"

	"mailproxy/relay"
)

// Peer is the relay.Carrier at the other end of one connection: the process that has replaced this one. It is
// for use by any number of goroutines, whose sessions go there one after the other.
type Peer struct {
	mu   sync.Mutex
	conn *net.UnixConn // nil: it is gone
}

// NewPeer returns the Carrier that answers on a SOCK_SEQPACKET connection, which becomes its own.
func NewPeer(conn *net.UnixConn) *Peer { return &Peer{conn: conn} }

// errGone says that the process is gone, or has once not answered.
var errGone = errors.New("the process that follows is gone")

// Carry is part of relay.Carrier. Once there was no answer it returns relay.ErrUnavailable at once.
func (p *Peer) Carry(ctx context.Context, s *relay.Session) error { return carry(ctx, s, p.ask) }

func (p *Peer) ask(ctx context.Context, m *Message, raw [2]syscall.RawConn) (*Message, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		return nil, errGone
	}
	if err := ctx.Err(); err != nil { // others have waited before us
		return nil, err
	}
	answer, usable, err := exchange(ctx, p.conn, m, raw)
	if !usable {
		p.conn.Close()
		p.conn = nil
	}
	return answer, err
}
