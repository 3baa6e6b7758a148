// Package pump serves connections that only the process that has them can serve: pipes of a launcher, TLS
// that cannot be detached (TLS 1.1, CBC cipher suites, keys that the peer has changed). A pump joins such a
// connection and one end of a link; the other end is the side of a session that any carrier takes: relayd,
// the engine in this process, and at a reload the process that follows. So limits, lists and the rules of
// closing are those of every other session, and what stays here is a connection and no session.
//
// A link is a unix socket pair with TLS 1.3 on it, whose keys are made for it. The TLS is not for secrecy:
// by it an end that was said (close_notify) is told from one that was not, which a plain unix socket does
// not do, and the engine has the rules for that.
package pump

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"mailproxy/internal/connection"
	"mailproxy/internal/successor"
	"mailproxy/relay"
	"mailproxy/relay/handoff"
	"mailproxy/relay/tlsrecord"
)

// Pumps are the pumps of a process.
type Pumps struct {
	// Most bounds them: each costs two file descriptors here besides those of its session; 0 = any number.
	Most int
	// Log writes a line about a fault, without a line end.
	Log func(line string)

	running sync.WaitGroup // as many as there are in all

	mu       sync.Mutex
	all      map[*pump]struct{}
	shutDown bool
}

// Carry has carry, which is to do what relay.Carrier says of Carry, take a session. Where another party could
// not go on with one of the connections, carry is given another session, with one end of a link in its place,
// and when it has taken that, a pump serves the connection until the session is over. After an error the
// session is the caller's as it was.
func (p *Pumps) Carry(s *relay.Session, carry func(*relay.Session) error) error {
	with := *s
	taken := false
	var all []*pump
	defer func() {
		for _, x := range all {
			if taken {
				x.near = nil
				go func() { defer p.forget(x); x.run() }()
				continue
			}
			_, _ = x.near.Release(), x.inner.Release()
			p.forget(x)
		}
	}()
	for i, conn := range [...]*net.Conn{&with.Client, &with.Mailhost} {
		if handoff.Direct(*conn) == nil {
			continue
		}
		x, err := p.newPump(*conn, i == handoff.MailhostLeg, s)
		if err != nil {
			return fmt.Errorf("%w: %w", relay.ErrUnavailable, err)
		}
		*conn = x.near
		all = append(all, x)
	}
	if len(all) == 0 {
		return carry(s)
	}
	err := carry(&with)
	taken = err == nil
	return err
}

// newPump returns one that does not run yet.
func (p *Pumps) newPump(conn net.Conn, mailhost bool, s *relay.Session) (*pump, error) {
	x := &pump{limit: s.HalfClose, log: p.Log, inDone: make(chan struct{})}
	var ok bool
	if x.outer, ok = conn.(halfCloser); !ok {
		return nil, fmt.Errorf("%T cannot end one direction", conn)
	}
	if x.limit <= 0 {
		x.limit = relay.DefaultHalfClosed
	}
	server, client, err := link()
	if err != nil {
		return nil, fmt.Errorf("a link within this process: %w", err)
	}
	x.near, x.inner = server, client
	if mailhost {
		x.near, x.inner = client, server
	}
	if !p.add(x) {
		_, _ = x.near.Release(), x.inner.Release()
		return nil, fmt.Errorf("no room: %d connections cannot leave this process", p.Most)
	}
	keepAlive(conn, s.KeepAlive)
	return x, nil
}

// add counts a pump, if there is room.
func (p *Pumps) add(x *pump) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shutDown || p.Most > 0 && len(p.all) >= p.Most {
		return false
	}
	p.running.Add(1)
	if p.all == nil {
		p.all = make(map[*pump]struct{})
	}
	p.all[x] = struct{}{}
	return true
}

func (p *Pumps) forget(x *pump) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, x)
	p.running.Done()
}

// Count returns how many there are.
func (p *Pumps) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all)
}

// Wait returns when no pump is left, or with the error of ctx. None may begin meanwhile.
func (p *Pumps) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() { defer close(done); p.running.Wait() }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Shutdown ends all of them, and with them their sessions: nothing more is passed on from their connections,
// and what the carriers have sent is delivered, at most for a second. It comes after that of this process's
// engine.
func (p *Pumps) Shutdown() {
	p.mu.Lock()
	p.shutDown = true
	for x := range p.all {
		x.stop()
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	_ = p.Wait(ctx)
}

// keepAlive is what the engine does for the sockets that it is given.
func keepAlive(conn net.Conn, idle time.Duration) {
	tcp, ok := connection.Bottom(conn).(*net.TCPConn)
	if !ok {
		return
	}
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: idle > 0, Idle: idle,
		Interval: min(time.Minute, idle), Count: 4})
}

// link returns the two ends of one, after the handshake. Nobody but this process has either, so that nobody
// is verified.
func link() (server, client *tlsrecord.Conn, err error) {
	a, b, err := successor.StreamPair()
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			a.Close()
			b.Close()
		}
	}()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	server = tlsrecord.Server(a, &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}},
	})
	client = tlsrecord.Client(b, &tls.Config{
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}, InsecureSkipVerify: true,
	})
	late := time.Now().Add(10 * time.Second)
	_, _ = a.SetDeadline(late), b.SetDeadline(late)
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	err = errors.Join(client.Handshake(), <-shaken)
	return server, client, errors.Join(err, a.SetDeadline(time.Time{}), b.SetDeadline(time.Time{}))
}
