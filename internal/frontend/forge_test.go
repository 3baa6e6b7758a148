package frontend

import (
	"errors"
	"strings"
	"testing"

	"mailproxy/internal/launch"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
	"mailproxy/relay"
)

// A name that looks like fields of a log line adds none to any line of a session.
func TestNamesForgeNothing(t *testing.T) {
	const name = "x, ip=[198.51.100.1], mailhost=evil\u0085\n"
	for what, event := range map[string]func(s *Conn){
		"login":         func(s *Conn) { s.logLogin(name) },
		"failed":        func(s *Conn) { s.logFailed(password(name, "x")) },
		"failed method": func(s *Conn) { s.logFailed(&Credentials{SASL: true, Mechanism: name}) },
		"disabled":      func(s *Conn) { s.logDisabled(name, "disableimap") },
		"no mailhost":   func(s *Conn) { s.logNoMailhost(name) },
		"no password":   func(s *Conn) { s.logNoPassword(name) },
		"bad account":   func(s *Conn) { s.logBadAccount(name, errors.New("x")) },
		"rejected": func(s *Conn) {
			s.logRejected(&mailhost.Conn{Host: "a", Addr: "192.0.2.1:143", User: name}, &login.RejectedError{Step: mailhost.StepLogin, Answer: login.Answer{Text: "no"}}, login.Verdict{})
		},
		"unusable": func(s *Conn) {
			s.logUnusable(&mailhost.Conn{Host: "a", User: name}, mailhost.StepLogin, errors.New("x"))
		},
		"loop":    func(s *Conn) { s.logLoop(&mailhost.Conn{Host: "a", User: name}, "x") },
		"home":    func(s *Conn) { s.logHome(name, "/", errors.New("x")) },
		"local":   func(s *Conn) { s.logLocal(name, errors.New("x")) },
		"limit":   func(s *Conn) { s.logRelayLimit(name, errors.New("x")) },
		"address": func(s *Conn) { s.Peer.RemoteIP = name; s.LogConnection() },
		"logout": func(s *Conn) {
			s.Log.Line(relay.EndLine(relay.Info{User: name, Protocol: "IMAP", RemoteIP: name, Mailhost: name}, relay.Stats{}))
		},
	} {
		w := newWorld(t, imap)
		event(w.Conn)
		line := w.log.String()
		if strings.Count(line, "\n") != 1 || strings.Contains(line, ", ip=[198.") || strings.Contains(line, ", mailhost=evil") ||
			!strings.Contains(line, `x\054 ip=[198.51.100.1]\054 mailhost=evil\302\205\012`) {
			t.Errorf("%s: %q", what, line)
		}
	}
}

// A mailhost's answer is a value like any other.
func TestMailhostForgesNothing(t *testing.T) {
	w := newWorld(t, imap)
	m := &mailhost.Conn{Host: "a", Addr: "192.0.2.1:143", User: "bob", Client: launch.Peer{}}
	said := login.Answer{Text: "no, ip=[198.51.100.1]" + strings.Repeat("x", 5000)}
	w.logRejected(m, &login.RejectedError{Step: mailhost.StepLogin, Answer: said}, login.Verdict{})
	w.logUnusable(m, mailhost.StepLogin, errors.New("said \"no, ip=[198.51.100.1]"+strings.Repeat("x", 5000)))
	for line := range strings.Lines(w.log.String()) {
		if strings.Contains(line, ", ip=[") || len(line) > 600 {
			t.Errorf("%d bytes: %q", len(line), line)
		}
	}
}
