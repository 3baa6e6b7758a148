package login

import (
	"errors"
	"slices"
	"strings"
	"time"

	"mailproxy/internal/mailhost"
	"mailproxy/relay"
)

// attempt is what is known of one login: for relayd's counters, and for the memory of failed logins. Its zero
// value is ready.
type attempt struct {
	began    time.Time // the credentials came
	name     string    // the account's, as the auth module is asked for it; "" = there was none
	failures []relay.Failure
	how      string        // the client's mechanism
	held     time.Duration // of the time since
	disabled bool          // why the login is refused
	reported bool          // relayd knows
}

// failed notes that a mailhost was of no use. It is called where that is logged: the log and the counters
// show the same.
func (a *attempt) failed(m *mailhost.Conn, step mailhost.Step) {
	a.failures = append(a.failures, relay.Failure{Mailhost: m.Host, Step: step})
}

// reportLogin tells relayd of a login that became no session of a mailhost's. Without a relayd nobody counts.
func (s *Session) reportLogin(err error) {
	switch {
	case err == nil:
		s.Report(relay.LoginLocal, "")
	case s.attempt.disabled:
		s.Report(relay.LoginDisabled, "")
	case errors.Is(err, ErrRefused):
		s.Report(relay.LoginRefused, s.attempt.last())
	default:
		s.Report(relay.LoginTemporary, s.attempt.last())
	}
}

// last is the mailhost that was asked last.
func (a *attempt) last() string {
	if len(a.failures) == 0 {
		return ""
	}
	return a.failures[len(a.failures)-1].Mailhost
}

// Report sends one report for each login. It does not block, and a report that is lost does not affect the
// login. Call it while this process still has the rights that relayd requires of a front end.
func (s *Session) Report(result relay.Result, mailhost string) {
	if s.attempt.reported || s.service.Reports == nil || !s.service.Reports.Available() {
		return
	}
	s.attempt.reported = true
	r := s.ReportSoFar()
	r.Protocol, r.Result, r.Mailhost = s.service.Protocol.Name, result, mailhost
	_ = s.service.Reports.Report(r)
}

// ReportSoFar is what goes with a session to relayd, which knows the rest.
func (s *Session) ReportSoFar() *relay.Report {
	took := s.service.System.Now().Sub(s.attempt.began) - s.attempt.held
	return &relay.Report{Mechanism: s.attempt.how, TLS: s.tlsVersion(), Took: took, Failures: s.attempt.failures}
}

// tlsVersion is that of the client's connection, as the report has it.
func (s *Session) tlsVersion() string {
	if !s.TLS {
		return "none"
	}
	// In our own words, couriertls's and a balancer's.
	protocol, _, _ := strings.Cut(s.Peer.TLS.Protocol(), ",")
	version, isTLS := strings.CutPrefix(protocol, "TLS")
	version = strings.TrimPrefix(version, "v")
	if isTLS && slices.Contains([]string{"1.0", "1.1", "1.2", "1.3"}, version) {
		return version
	}
	return "other"
}

// MarkReported says that relayd knows of the login: it has been given the session.
func (s *Session) MarkReported() { s.attempt.reported = true }
