// Package faults breaks what the front ends depend on, mailhosts and the auth module, in every way there is,
// and looks at what the client is told, how soon, what the log says, and what is left behind.
package faults

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
	"mailproxy/tests/transcript"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const (
	waitLimit = time.Minute // how long a test waits for what must come
	control   = "127.0.0.1" // where the front ends listen
	good      = "127.0.0.8" // a mailhost that works
)

// The limits that the front ends get here. A busy machine may take its time where nothing hangs; only those
// that are to give somebody up do so sooner, so that the tests are quick.
var (
	unlimited = harness.Env{
		"PROXY_CONNECT_TIMEOUT": "50", "PROXY_LOGIN_TIMEOUT": "50", "LOGIN_TIMEOUT": "600",
		"TIMEOUT_SOCK": "50", "TIMEOUT_WRITE": "50", "TIMEOUT_READ": "50",
	}
	hangingAuth = harness.Env{"TIMEOUT_SOCK": "4", "TIMEOUT_WRITE": "4", "TIMEOUT_READ": "4"}
	// Here the client tries another account afterwards.
	hangingMailhost = harness.Env{"PROXY_CONNECT_TIMEOUT": "12", "PROXY_LOGIN_TIMEOUT": "12"}
)

// outcome is what the client of a faulty login is told.
type outcome int

const (
	loggedIn outcome = iota
	refused
	temporary
	denied // the password is right, the account is not
)

// protocol is what differs between IMAP and POP3 in these tests.
type protocol struct {
	harness.Protocol
	answer map[outcome]string
	after  string // a command that shows that the session goes on
}

var protocols = []protocol{
	{
		Protocol: harness.IMAP,
		answer: map[outcome]string{
			loggedIn:  `S* a OK .*`,
			refused:   `S: a NO [AUTHENTICATIONFAILED] Login failed.`,
			temporary: `S: a NO [UNAVAILABLE] Temporary problem, please try again later`,
			denied:    `S: a NO [CONTACTADMIN] The mailbox cannot be opened, please call the postmaster`,
		},
		after: "C: b NOOP\nS: b OK NOOP completed",
	},
	{
		Protocol: harness.POP3,
		answer: map[outcome]string{
			loggedIn:  `S~ \+OK.*`,
			refused:   `S: -ERR [AUTH] Login failed.`,
			temporary: `S: -ERR [SYS/TEMP] Temporary problem, please try again later`,
			denied:    `S: -ERR [SYS/PERM] Mail server cannot open the mailbox, please call the postmaster`,
		},
		after: "C: LANG\nS~ \\+OK.*\nS* \\.",
	},
}

// After a login the good mailhost and the client say this, to show that the two are joined.
const (
	echo   = "C: ping\nS: pong\nC-\nS-"
	joined = "C: ping\nS: pong\nC-\nS-"
)

// front starts the protocol's front end, unlimited, with more settings.
func (p protocol) front(t *testing.T, m *harness.Mode, addr string, more harness.Env) *harness.Proxy {
	t.Helper()
	return m.Start(t, harness.ProxyOptions{Addr: addr, Protocols: []string{p.Name}, Env: unlimited.With(more)})
}

// attempt logs in and expects the outcome. A session that was not logged in must still be usable: the client
// then gives another name, of an account whose mailhost works, if there is one.
func (p protocol) attempt(t *testing.T, addr, user string, want outcome, then string) {
	t.Helper()
	r := &transcript.Runner{Conn: harness.Connect(t, p.At(addr)), Timeout: waitLimit}
	r.MustPlay(t, p.Greeting+p.Credentials(user, "pw")+p.answer[want])
	if want == loggedIn {
		r.MustPlay(t, joined)
		return
	}
	r.MustPlay(t, p.after)
	if then != "" {
		r.MustPlay(t, p.Credentials(then, "pw")+p.answer[loggedIn]+"\n"+joined)
	}
}

// warnings returns the lines about this user, or all, that are above INFO.
func warnings(log *harness.Log, user string) []string {
	return log.Find(`^(WARN|ERR|CRIT): .*` + user)
}

func oneWarning(t *testing.T, log *harness.Log, user, want string) {
	t.Helper()
	harness.Eventually(func() bool { return len(warnings(log, user)) > 0 })
	lines := warnings(log, user)
	if len(lines) != 1 || !strings.Contains(lines[0], want) {
		t.Errorf("want one log line with %q in it, have %d: %q", want, len(lines), lines)
	}
}

func address(n int) string { return fmt.Sprintf("127.0.%d.%d", 10+n/200, 1+n%200) }
