package frontend

import (
	"errors"
	"time"

	"mailproxy/internal/mailhost"
	"mailproxy/relay"
)

// stepRejected is the step of a mailhost's no in relayd's counters, whichever command it was the answer to:
// mailhosts that do not work and mailhosts that do not agree with the account database are to be told apart.
const stepRejected mailhost.Step = "rejected"

// tally collects what is to be known of one login: by relayd, and by the memory of failed logins. Its zero
// value is ready.
type tally struct {
	began    time.Time // the credentials came
	name     string    // the account's, as the auth module is asked for it; "" = there was none
	failures []relay.Failure
	disabled bool // why the login is refused
	told     bool // relayd knows
}

// failed notes that a mailhost was of no use. It is called where that is logged: the log and the counters
// show the same.
func (t *tally) failed(m *mailhost.Conn, step mailhost.Step) {
	t.failures = append(t.failures, relay.Failure{Mailhost: m.Host, Step: string(step)})
}

// reportLogin tells relayd how Login ends, unless it knows. Without a relayd nobody counts.
func (s *Conn) reportLogin(o *Outcome, err error) {
	switch {
	case err == nil && o.Mailhost == nil:
		s.report(relay.LoginLocal, "")
	case err == nil:
		s.report(relay.LoginOK, o.Mailhost.Host)
	case s.tally.disabled:
		s.report(relay.LoginDisabled, "")
	case errors.Is(err, ErrRefused):
		s.report(relay.LoginRefused, s.tally.last())
	default:
		s.report(relay.LoginTemporary, s.tally.last())
	}
}

// last is the mailhost that was asked last.
func (t *tally) last() string {
	if len(t.failures) == 0 {
		return ""
	}
	return t.failures[len(t.failures)-1].Mailhost
}

// report sends one report for each login. It waits for nothing, and that it does not arrive is nothing that
// anybody who logs in should notice. To be called while this process still has the rights by which relayd
// knows a front end.
func (s *Conn) report(result relay.Result, mailhost string) {
	if s.tally.told || !s.hasRelayd() {
		return
	}
	s.tally.told = true
	r := s.reportSoFar()
	r.Protocol, r.Result, r.Mailhost = s.Protocol.Name, result, mailhost
	_ = s.Relayd.Report(r)
}

// reportSoFar is what goes with a session: relayd knows the rest.
func (s *Conn) reportSoFar() *relay.Report {
	return &relay.Report{Took: s.System.Now().Sub(s.tally.began), Failures: s.tally.failures}
}
