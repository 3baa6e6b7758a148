package main

import (
	"net"

	"mailproxy/relay"
	"mailproxy/relay/handoff"
)

// What front ends tell of logins: with every session, and in a REPORT message of those that became none.

// report counts a login that became no session. The front end does not wait for an answer; there is one
// only for nonsense.
func (s *service) report(c *net.UnixConn, m *handoff.Message) {
	err := s.countLogin(m, relay.Result(m.Fields["RESULT"]))
	s.counters.reported.Add(1)
	if err != nil {
		_ = handoff.Answer(c, handoff.Fail, err.Error())
	}
}

// countSession counts the login of a CARRY message. Nonsense does not cost the session.
func (s *service) countSession(m *handoff.Message, result relay.Result) {
	if _, told := m.Fields["LOGIN_US"]; told { // else it is an older front end, or none
		_ = s.countLogin(m, result)
	}
}

func (s *service) countLogin(m *handoff.Message, result relay.Result) error {
	r, err := handoff.ParseReport(m.Fields)
	if err == nil {
		r.Result = result
		err = s.counters.logins.Add(r)
	}
	if err != nil {
		s.counters.malformed.Add(1)
	}
	return err
}
