package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/tlsconf"
	"mailproxy/relay"
	"mailproxy/relay/internal/pump"
	"mailproxy/relay/internal/wire"
)

// Encryption as a service. A front end passes a connection on which TLS is to begin, one end of a socket pair, and the files
// that a handshake needs, all open; it goes on in clear text over the other end of the pair. A session of an event loop joins
// the connection and the pair. When the client has logged in, the front end says TAKE, and the pair is taken out; or it says
// CONTINUE, and the session goes on as it is. Until then the front end stays connected to us: when it goes, so does the session.
//
//	front end                                relayd
//	ENCRYPT connection, pair, files     →    UNABLE: nothing was read; or BEGIN
//	FILES or NONE                       ↔    FILES, with the server that the client names
//	                                    ←    READY with a name for the connection, or FAILED
//	TAKE with name and other end        →    OK, LIMIT, FULL (after PLACE: OK)
//	CONTINUE                            →    OK, LIMIT

// encryption is a connection whose client has not logged in. What follows of it is its session, or kept.
type encryption struct {
	id       string
	request  tlsconf.Request
	info     relay.Info
	tcp, far int      // descriptors
	conn     net.Conn // a copy of tcp, for crypto/tls
	handlim  time.Duration
	login    time.Duration
	asking   chan map[string]int // files that the front end has opened for a name
	answered chan struct{}       // closed when the handshake is over

	// From there on:
	x    *session // nil: none, or kept
	l    *loop
	kept *kept
}

// encrypt serves a front end from its request for a handshake until its client has logged in or is gone. release is called when
// it no longer counts as a conversation that a restart has to wait for.
func (s *service) encrypt(ctx context.Context, c *net.UnixConn, m *wire.Message, fds []int, release func()) {
	e, prepared, warnings, err := s.prepare(m, fds)
	if err == nil && !s.encryptions.enter() {
		err = errors.New("too many connections are logging in")
		e.conn.Close()
		wire.CloseAll(fds[:2])
	}
	if err != nil {
		s.counters.handshakes.count(unable)
		_ = wire.Send(c, &wire.Message{Verb: "UNABLE", Fields: map[string]string{"REASON": line(err.Error())}})
		return
	}
	defer s.encryptions.leave()
	// From here on the front end leaves the connection alone, whatever happens to us.
	if err := errors.Join(unix.SetNonblock(e.tcp, true), unix.SetNonblock(e.far, true), answer(c, "BEGIN", "")); err != nil {
		e.conn.Close()
		wire.CloseAll(fds[:2])
		return
	}
	release()
	_ = c.SetDeadline(time.Now().Add(e.login))
	hctx, cancel := context.WithTimeout(ctx, e.handlim)
	defer cancel()
	go func() {
		defer close(e.answered)
		s.shake(hctx, e, prepared, c, warnings)
	}()
	over := s.follow(c, e)
	cancel()
	<-e.answered
	if !over {
		s.abandon(e)
	}
}

// follow hears what the front end has to say, and reports whether the session no longer needs it.
func (s *service) follow(c *net.UnixConn, e *encryption) (over bool) {
	for {
		m, fds, err := wire.Receive(c)
		if err != nil {
			wire.CloseAll(fds)
			return false
		}
		switch m.Verb {
		case "FILES", "NONE":
			files, ferr := filesFrom(m, fds)
			if ferr != nil {
				wire.CloseAll(fds)
				return false
			}
			select {
			case e.asking <- files:
			case <-e.answered: // nobody has asked
				wire.CloseAll(fds)
			}
			continue
		}
		<-e.answered
		switch {
		case e.x == nil && e.kept == nil:
			wire.CloseAll(fds)
			return false
		case m.Verb == "TAKE":
			if s.take(c, m, fds, false) {
				return true
			}
		case m.Verb == "PLACE":
			wire.CloseAll(fds)
			if s.place(c, m) {
				return true
			}
		case m.Verb == "CONTINUE":
			wire.CloseAll(fds)
			if s.goOn(c, e, m) {
				return true
			}
		default:
			wire.CloseAll(fds)
			if answer(c, "FAIL", "unknown request") != nil {
				return false
			}
		}
	}
}

// prepare reads the request and all that can be known without the peer. When there is an error, all descriptors are closed; else those
// of the connection and of the pair are e's.
func (s *service) prepare(m *wire.Message, fds []int) (e *encryption, p *tlsconf.Prepared, warnings *strings.Builder, err error) {
	defer func() {
		wire.CloseAll(fds[min(2, len(fds)):])
		if err != nil {
			wire.CloseAll(fds[:min(2, len(fds))])
		}
	}()
	if !s.conf.tls {
		return nil, nil, nil, errors.New("TLS is switched off here")
	}
	if e, err = encryptionFrom(m, fds); err != nil {
		return nil, nil, nil, err
	}
	warnings = &strings.Builder{}
	e.request.Warn = func(format string, a ...any) {
		if warnings.Len() < maxWarnings {
			warnings.WriteString(line(fmt.Sprintf(format, a...)) + "\n")
		}
	}
	p, err = s.shared.Prepare(e.request)
	e.request.Files = nil
	if err == nil {
		e.conn, err = netConn(e.tcp) // there may be no descriptor left for it
	}
	return e, p, warnings, err
}

// maxWarnings bounds the text that comes with one answer.
const maxWarnings = 8 << 10

// encryptionFrom reads an ENCRYPT message: the connection, the pair's end, then files as its field FILES lists them.
func encryptionFrom(m *wire.Message, fds []int) (*encryption, error) {
	if len(fds) < 2 {
		return nil, fmt.Errorf("%d descriptors", len(fds))
	}
	files, err := filesFrom(m, fds[2:])
	if err != nil {
		return nil, err
	}
	for _, fd := range fds[:2] {
		if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
			return nil, errors.New("not a stream socket")
		}
	}
	_ = unix.SetsockoptInt(fds[0], unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // where it is TCP
	e := &encryption{tcp: fds[0], far: fds[1], asking: make(chan map[string]int), answered: make(chan struct{})}
	for name, d := range map[string]*time.Duration{"HANDSHAKE_MS": &e.handlim, "LOGIN_MS": &e.login} {
		ms, err := strconv.ParseInt(m.Fields[name], 10, 32)
		if err != nil || ms <= 0 {
			return nil, errors.New(name + " is not a number of milliseconds")
		}
		*d = time.Duration(ms) * time.Millisecond
	}
	e.info = relay.Info{Protocol: m.Fields["PROTOCOL"], RemoteIP: m.Fields["IP"], RemotePort: m.Fields["PORT"], Mailhost: m.Fields["HOST"], Start: time.Now()}
	if err := loggable(e.info); err != nil {
		return nil, err
	}
	settings := map[string]string{}
	for name, value := range m.Fields {
		if name, ok := strings.CutPrefix(name, "SET_"); ok {
			settings[name] = value
		}
	}
	e.request = tlsconf.Request{Options: tlsconf.Options{Settings: settings, StartTLS: m.Fields["STARTTLS"] == "1"}, Host: m.Fields["HOST"], Files: files}
	return e, nil
}

// filesFrom reads the field FILES, kinds separated by blanks, for the descriptors beside it.
func filesFrom(m *wire.Message, fds []int) (map[string]int, error) {
	kinds := strings.Fields(m.Fields["FILES"])
	if len(kinds) != len(fds) {
		return nil, fmt.Errorf("%d files, %d descriptors", len(kinds), len(fds))
	}
	files := map[string]int{}
	for i, kind := range kinds {
		files[kind] = fds[i]
	}
	if len(files) != len(fds) {
		return nil, errors.New("two files of one kind")
	}
	return files, nil
}

// ask has the front end open the files for a server that the client names.
func (e *encryption) ask(ctx context.Context, c *net.UnixConn, server string) (map[string]int, error) {
	if line(server) != server || len(server) > 255 {
		return nil, nil
	}
	if err := wire.Send(c, &wire.Message{Verb: "FILES", Fields: map[string]string{"NAME": server}}); err != nil {
		return nil, err
	}
	select {
	case files := <-e.asking:
		return files, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// shake makes the handshake, has a loop carry the connection, and tells the front end.
func (s *service) shake(ctx context.Context, e *encryption, p *tlsconf.Prepared, c *net.UnixConn, warnings *strings.Builder) {
	conn, err := s.handshake(ctx, e, p, func(server string) (map[string]int, error) { return e.ask(ctx, c, server) })
	m := &wire.Message{Verb: "READY", Fields: map[string]string{}}
	if err == nil {
		state := conn.ConnectionState()
		for name, value := range tlsconf.Variables(&state) {
			m.Fields["VAR_"+name] = value
		}
		if err = s.carry(e, conn); err == nil {
			s.encryptions.add(e)
			m.Fields["ID"] = e.id
			s.counters.handshakes.made(&state)
		}
	}
	if err != nil {
		e.conn.Close()
		wire.CloseAll([]int{e.tcp, e.far})
		s.counters.handshakes.count(failed)
		m = &wire.Message{Verb: "FAILED", Fields: map[string]string{"REASON": line(tlsconf.Cause(err))}}
	}
	m.Body = []byte(warnings.String())
	_ = wire.Send(c, m)
}

var errPanic = errors.New("internal error")

// handshake waits for its turn and makes the handshake. Its peer is the whole world, so what goes wrong in it ends this connection
// alone.
func (s *service) handshake(ctx context.Context, e *encryption, p *tlsconf.Prepared, forName tlsconf.ForName) (conn *tlsconf.Conn, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.line(fmt.Sprintf("CRIT: relayd: handshake with [%s]: %v", e.info.RemoteIP, r))
			conn, err = nil, errPanic
		}
	}()
	leave, err := s.gate.enter(ctx, e.info.RemoteIP)
	if err != nil {
		return nil, err
	}
	defer leave()
	begin := time.Now()
	if conn, err = p.Handshake(ctx, e.conn, forName); err != nil {
		return nil, err
	}
	s.counters.handshakes.took(time.Since(begin))
	return conn, nil
}

// carry takes the connection from crypto/tls and gives it to a loop; or keeps it there where that is not possible.
func (s *service) carry(e *encryption, conn *tlsconf.Conn) error {
	if conn.CanDetach() != nil {
		return s.keep(e, conn)
	}
	state, err := conn.Detach()
	if err != nil {
		return err
	}
	conn.NetConn().Close() // a copy of the descriptor
	x := newSession(e.info, pump.End{FD: e.tcp}, pump.End{FD: e.far})
	plain := x.end[client].Take(state)
	if err := x.prime(client, plain); err != nil {
		return err
	}
	x.login = true
	e.x, e.l = x, s.loopFor()
	e.l.adopt(x)
	return nil
}

// netConn is a connection of package net on a copy of a descriptor.
func netConn(fd int) (net.Conn, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(own), "connection")
	defer f.Close()
	return net.FileConn(f)
}

// line is a text as it can stand in a field and in a log.
func line(text string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return '?'
		}
		return r
	}, text)
}
