package relaytest

import (
	"bytes"
	"testing"
	"time"

	"mailproxy/tests/testlog"
)

// halfClosedLimit is that of the sessions of HalfClosed.
const halfClosedLimit = 2 * time.Second

// deliverTime is what a client that has everything has to close its side when the mailhost has ended.
const deliverTime = time.Second

// HalfClosed tries that a session of which one side has ended does not outlive the patience with the other
// side, and does not end as long as bytes move.
func HalfClosed(t *testing.T, clients, mailhosts []Kind, join Joiner) {
	for _, ck := range clients {
		for _, mk := range mailhosts {
			for _, tc := range []struct {
				name string
				run  func(*session)
			}{
				{"MailhostEnds", func(s *session) { silent(s, s.mailhost, deliverTime) }},
				{"ClientEnds", func(s *session) { silent(s, s.client, halfClosedLimit) }},
				{"NotRead", notRead}, {"Slow", slow},
			} {
				t.Run(ck.Name+"+"+mk.Name+"/"+tc.name, func(t *testing.T) {
					t.Parallel()
					nc, fc := ck.Make(t)
					nm, fm := mk.Make(t)
					tc.run(&session{T: t, client: fc, mailhost: fm, nearClient: nc, nearMailhost: nm, join: join,
						halfClose: halfClosedLimit})
				})
			}
		}
	}
}

// silent: a has gone, the other side keeps its connection and says nothing.
func silent(s *session, a Conn, limit time.Duration) {
	s.start()
	send(s, s.client, "a1 LOGOUT\r\n")
	expect(s, s.mailhost, "a1 LOGOUT\r\n")
	begin := time.Now()
	a.CloseWrite()
	s.over()
	within(s, begin, limit)
}

// notRead: the mailhost has sent more than fits anywhere, and has gone; the client does not read.
func notRead(s *session) {
	s.start()
	_ = s.mailhost.SetWriteDeadline(time.Now().Add(time.Second))
	block := bytes.Repeat([]byte("x"), 1<<20)
	for range 64 {
		if _, err := s.mailhost.Write(block); err != nil {
			break
		}
	}
	begin := time.Now()
	s.client.CloseWrite()
	s.over()
	within(s, begin, halfClosedLimit)
}

// slow: one side has ended, and the other sends from time to time, for longer than the limit.
func slow(s *session) {
	s.halfClose = 5 * time.Second // far more than a step, on a machine that is busy
	s.start()
	s.client.CloseWrite()
	ends(s, s.mailhost)
	for range 4 {
		// The pace is what is tested: slower than the limit in sum, not in one step.
		time.Sleep(s.halfClose * 3 / 10)
		send(s, s.mailhost, "x")
		expect(s, s.client, "x")
	}
	s.mailhost.Close()
	s.over()
}

func within(s *session, begin time.Time, limit time.Duration) {
	if d := time.Since(begin); d < limit*9/10 || d > limit+testlog.Patience {
		s.Errorf("ended after %v, with a limit of %v", d, limit)
	}
}
