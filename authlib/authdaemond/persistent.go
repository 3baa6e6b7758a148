package main

import (
	"context"
	"errors"
	"io"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/maillog"
)

// Persistent connections: the second socket's, see package authlib for what is said on them. A connection
// that is silent holds a goroutine and no buffer; a slot is held from the last byte of a question until there
// is an answer, and not while the client reads it.

var (
	// errTurnedAway says that a request found no slot.
	errTurnedAway = errors.New("too many requests under way and waiting")
	// errFault says that a request ended in a panic, which is in the log.
	errFault = errors.New("panic")
)

// persistent serves a connection of the second socket: a request after the other.
func (s *server) persistent(ctx context.Context, c *client) {
	defer s.connections.Add(-1)
	if most := s.settings().connections; s.connections.Add(1) > int64(most) {
		s.tooMany(most)
		return
	}
	_, err := io.WriteString(c, authlib.Greeting)
	for err == nil {
		err = s.question(ctx, c)
	}
	s.debugf("a persistent connection ends: %v", err)
}

// question serves one question; the error ends the connection. The end of ctx interrupts the wait for it,
// never an answer.
func (s *server) question(ctx context.Context, c *client) error {
	var number uint64
	var req authlib.Request
	err := c.receive(ctx, s.settings().idle, func(b []byte) (err error) {
		number, req, err = authlib.ParseQuestion(b)
		return err
	})
	if err != nil {
		return err
	}
	return s.respond(c, req, func(buf, answer []byte, err error) []byte {
		if err != nil {
			return authlib.AppendTempfail(buf, number)
		}
		return authlib.AppendAnswer(buf, number, answer)
	})
}

// settings are those in use.
func (s *server) settings() *settings {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now.settings
}

// tooMany reports a connection that is closed without a greeting: its client asks on the first socket.
func (s *server) tooMany(most int) {
	s.metrics.turnedAway.Inc()
	if more, due := s.crowded.Due(time.Now()); due {
		s.log.Warnf("AUTH_PERSISTENT_CONNECTIONS=%d are open: a client has to use the other socket%s", most, more)
	}
}

// acceptPause waits when accept(2) fails, and says so once a minute.
type acceptPause struct{ complained time.Time }

// after is called with accept's error: out of descriptors or memory, of which those who are being served will
// give some back.
func (p *acceptPause) after(log *maillog.Log, err error) {
	if now := time.Now(); now.Sub(p.complained) > time.Minute {
		p.complained = now
		log.Errf("accept: %v", err)
	}
	time.Sleep(20 * time.Millisecond)
}
