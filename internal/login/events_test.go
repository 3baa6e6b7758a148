package login

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/sasl"
	"mailproxy/internal/mailhost"
)

// checkLeaves is the end of a balancer's health check.
func checkLeaves(s *Session) {
	s.HealthCheck = true
	s.LogLogout(12, 345)
}

// Lines that other tests do not show.
func TestEvents(t *testing.T) {
	for _, test := range []struct {
		protocol Protocol
		tls      bool
		event    func(*Session)
		want     string
	}{
		{imap, false, (*Session).LogConnection, "DEBUG: Connection, " + from},
		{imap, false, func(s *Session) { s.LogLogout(12, 345) }, "INFO: LOGOUT, " + from + ", rcvd=12, sent=345"},
		{pop3, false, func(s *Session) { s.LogLogout(12, 345) }, "INFO: LOGOUT, " + from},
		{imap, false, checkLeaves, "DEBUG: LOGOUT, " + from + ", rcvd=12, sent=345"},
		{pop3, false, checkLeaves, "DEBUG: LOGOUT, " + from},
		{imap, false, func(s *Session) { s.LogDisconnected(EndClosed) }, "DEBUG: Disconnected, " + from +
			", time=7"},
		{imap, true, func(s *Session) { s.LogDisconnected(EndClosed) }, "DEBUG: Disconnected, " + from +
			", time=7, starttls=1"},
		{pop3, true, func(s *Session) { s.LogDisconnected(EndClosed) }, "DEBUG: Disconnected, " + from},
		{imap, false, func(s *Session) { s.LogDisconnected(EndTimeout) }, "INFO: TIMEOUT, " + from + ", time=7"},
		{imap, false, func(s *Session) { s.LogDisconnected(EndShutdown) },
			"NOTICE: Disconnected during shutdown by signal, " + from + ", time=7"},
		{pop3, true, func(s *Session) { s.LogDisconnected(EndShutdown) },
			"NOTICE: Disconnected during shutdown by signal, " + from + ", time=7, stls=1"},
		{imap, false, func(s *Session) { s.LogID(`name=x`) }, "INFO: ID, " + from + ", name=x"},
		{imap, false, (*Session).LogViolations, "ERR: TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS, " + from},
		{imap, false, func(s *Session) { s.LogLogin("bob@example.com") }, "INFO: LOGIN, user=bob@example.com, " +
			from + ", protocol=IMAP"},
		{imap, true, func(s *Session) { s.LogLogin("bob") }, "INFO: LOGIN, user=bob, " + from +
			", protocol=IMAP, starttls=1"},
		{pop3, true, func(s *Session) { s.LogLogin("bob") }, "INFO: LOGIN, user=bob, " + from +
			", protocol=POP3, stls=1"},
		{pop3, false, func(s *Session) {
			s.logRejected(&mailhost.Conn{Host: "a", Addr: "127.0.0.2:110", User: "bob", Password: "pw"},
				&RejectedError{Step: mailhost.StepUser, Answer: Answer{Text: "-ERR who\x07"}}, verdict{why: "it says no"})
		}, "WARN: Login userid rejected by a, address=127.0.0.2:110, step=user, user=bob: " +
			`it says no: -ERR who\007`},
		{pop3, false, func(s *Session) {
			s.logRejected(&mailhost.Conn{Host: "a", Addr: "127.0.0.2:110", User: "m", Authzid: "bob", Password: "pw"},
				&RejectedError{Step: mailhost.StepPassword,
					Answer: Answer{Text: "-ERR PASS pw"}}, verdict{level: levelErr})
		}, "ERR: Login password rejected by a, address=127.0.0.2:110, step=password, user=bob: -ERR PASS ***"},
		{imap, false, func(s *Session) { s.logConnected(&mailhost.Conn{Host: "a", Addr: "127.0.0.2:110"}) }, ""},
		{imap, false, func(s *Session) {
			s.Config.Debug = 1
			s.logConnected(&mailhost.Conn{Host: "a", Addr: "127.0.0.2:110"})
		}, "DEBUG: Proxy connected to a, address=127.0.0.2:110"},
		{imap, false, func(s *Session) { s.LogHome("bob", "/home/b", errors.New("x")) },
			"WARN: bob: chdir(/home/b) failed!!: x"},
		{imap, false, func(s *Session) { s.LogExec("/usr/bin/imapd", errors.New("x")) },
			"ERR: exec(/usr/bin/imapd) failed!!: x"},
		{imap, false, func(s *Session) { s.LogLocal("bob", errors.New("x")) }, "ERR: local account bob: x"},
		{imap, false, func(s *Session) {
			s.LogRelayLimit("ann@x",
				errors.New("too many sessions: 3 sessions of this user"))
		},
			"WARN: too many sessions: 3 sessions of this user, user=ann@x, " + from},
		{imap, false, func(s *Session) { s.LogRelayd(errors.New("x")) },
			"WARN: relayd does not take the session: x"},
	} {
		w := newWorld(t, test.protocol)
		w.TLS = test.tls
		w.Started = w.service.System.Now().Add(-7500 * time.Millisecond)
		test.event(w.Session)
		if test.want == "" {
			w.wantLog(t)
			continue
		}
		w.wantLog(t, test.want)
	}
}

// Fail2ban's own filter finds our failures, with the right address, and nothing else in the log.
func TestFail2ban(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imap, "IMAP_PROXY=1")
	w.auth.Add("bob", "mailhost=127.0.1.1")
	w.Login(t.Context(), password("bob", "x"))
	w.Login(t.Context(), password("x, ip=[198.51.100.1], port=[1]", "x"))
	w.Login(t.Context(), password("LOGIN FAILED, ip=[198.51.100.1]", "x"))
	w.Login(t.Context(), bySASL(sasl.Credentials{Mechanism: "PLAIN", Type: authlib.AuthLogin, User: "bob",
		Password: "x"}))
	failures := strings.Count(w.log.String(), "\n")
	w.Login(t.Context(), password("bob", "secret")) // no mailhost there
	w.LogConnection()
	w.LogLogout(1, 2)
	w.LogDisconnected(EndClosed)
	// courierlogger takes the level off and puts the syslog prefix on.
	var lines []string
	for line := range strings.Lines(w.log.String()) {
		_, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
		lines = append(lines, "Jan  2 03:04:05 mail imapd[123]: "+text)
	}
	// fail2ban takes a command line argument that names a file for a file, and any other for a line.
	log := filepath.Join(t.TempDir(), "log")
	writeFile(t, log, strings.Join(lines, "\n")+"\n")
	out, err := exec.Command("fail2ban-regex", "-o", "ip", log, "courier-auth").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(out), strings.Repeat("::ffff:192.0.2.7\n", failures); strings.ReplaceAll(got,
		"::ffff:", "") != strings.ReplaceAll(want, "::ffff:", "") {
		t.Errorf("fail2ban found %q, want %q, in\n%s", got, want, strings.Join(lines, "\n"))
	}
}
