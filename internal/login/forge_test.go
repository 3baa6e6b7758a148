package login

import (
	"errors"
	"strings"
	"testing"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/launch"
	"mailproxy/internal/mailhost"
	"mailproxy/relay"
)

// A name that looks like fields of a log line adds none to any line of a session.
func TestNamesForgeNothing(t *testing.T) {
	const name = "x, ip=[198.51.100.1], mailhost=evil\u0085\n"
	for what, event := range map[string]func(s *Session){
		"login":         func(s *Session) { s.LogLogin(name) },
		"failed":        func(s *Session) { s.logFailed(password(name, "x")) },
		"failed method": func(s *Session) { s.logFailed(bySASL(sasl.Credentials{Mechanism: name})) },
		"disabled":      func(s *Session) { s.logDisabled(name, "disableimap") },
		"no mailhost":   func(s *Session) { s.logNoMailhost(name) },
		"no password":   func(s *Session) { s.logNoPassword(&mailhost.Conn{}, name) },
		"bad account":   func(s *Session) { s.logBadAccount(name, errors.New("x")) },
		"rejected": func(s *Session) {
			s.logRejected(&mailhost.Conn{Host: "a", Addr: "192.0.2.1:143", User: name},
				&RejectedError{Step: mailhost.StepLogin, Answer: Answer{Text: "no"}}, verdict{})
		},
		"unusable": func(s *Session) {
			s.logUnusable(&mailhost.Conn{Host: "a", User: name}, mailhost.StepLogin, errors.New("x"))
		},
		"loop":       func(s *Session) { s.logLoop(&mailhost.Conn{Host: "a", User: name}, "x") },
		"home":       func(s *Session) { s.LogHome(name, "/", errors.New("x")) },
		"local":      func(s *Session) { s.LogLocal(name, errors.New("x")) },
		"limit":      func(s *Session) { s.LogRelayLimit(name, errors.New("x")) },
		"address":    func(s *Session) { s.Peer.RemoteIP = name; s.LogConnection() },
		"violations": func(s *Session) { s.Peer.RemoteIP = name; s.LogViolations() },
		"id":         func(s *Session) { s.Peer.RemoteIP = name; s.LogID("name=x") },
		"logout": func(s *Session) {
			s.Log.Line(relay.EndLine(relay.Info{User: name, Protocol: "IMAP", RemoteIP: name, Mailhost: name},
				relay.Stats{}))
		},
	} {
		w := newWorld(t, imap)
		event(w.Session)
		line := w.log.String()
		if strings.Count(line, "\n") != 1 || strings.Contains(line, ", ip=[198.") ||
			strings.Contains(line, ", mailhost=evil") ||
			!strings.Contains(line, `x\054 ip=[198.51.100.1]\054 mailhost=evil\302\205\012`) {
			t.Errorf("%s: %q", what, line)
		}
	}
}

// A mailhost's answer is a value like any other.
func TestMailhostForgesNothing(t *testing.T) {
	w := newWorld(t, imap)
	m := &mailhost.Conn{Host: "a", Addr: "192.0.2.1:143", User: "bob", Client: launch.Peer{}}
	said := Answer{Text: "no, ip=[198.51.100.1]" + strings.Repeat("x", 5000)}
	w.logRejected(m, &RejectedError{Step: mailhost.StepLogin, Answer: said}, verdict{})
	w.logUnusable(m, mailhost.StepLogin, errors.New("said \"no, ip=[198.51.100.1]"+strings.Repeat("x", 5000)))
	for line := range strings.Lines(w.log.String()) {
		if strings.Contains(line, ", ip=[") || len(line) > 600 {
			t.Errorf("%d bytes: %q", len(line), line)
		}
	}
}
