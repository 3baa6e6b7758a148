package session

import (
	"testing"

	"mailproxy/tests/clients"
	"mailproxy/tests/harness"
)

// front is one of the set-ups of the proxy: each has an address of its own.
type front struct {
	name       string
	addr       string
	env        harness.Env
	imap, pop3 *harness.Process
	relayd     *harness.Service // nil where the front ends relay themselves
}

// ends is the log that has the line at the end of a proxied session.
func (f front) ends(p *harness.Process) *harness.Log {
	if f.relayd != nil {
		return f.relayd.Log
	}
	return p.Log
}

func (a account) at(f front) clients.Server {
	return clients.Server{IMAP: f.addr + ":143", POP3: f.addr + ":110", User: a.name, Password: a.password}
}

// fronts starts our front ends in each of their set-ups: which auth daemon answers, and whether relayd takes the sessions.
func fronts(t *testing.T) []front {
	t.Helper()
	relayd := harness.Relayd(t)
	all := []front{
		{name: "courier-authdaemond", addr: "127.0.1.1"},
		{name: "authdaemond", addr: "127.0.1.2", env: harness.Env{"AUTHDAEMON_SOCKET": harness.Authdaemond(t, "authuserdb", nil).Socket}},
		{name: "one-shot", addr: "127.0.1.3", env: harness.Env{"AUTHDAEMON_SOCKET": "/nonexistent/socket"}},
		{name: "relayd", addr: "127.0.1.4", env: harness.Env{"RELAY_SOCKET": relayd.Socket}, relayd: relayd},
	}
	for i := range all {
		all[i].start(t, harness.Bin)
	}
	return all
}

// start runs both programs under couriertcpd on the set-up's address; bin is harness.Bin or harness.PlainBin.
func (f *front) start(t *testing.T, bin func(testing.TB, string) string) {
	t.Helper()
	env := harness.Env{"IMAP_PROXY": "1", "POP3_PROXY": "1", "LOGIN_FAIL_DELAY": "0"}
	for name, value := range f.env {
		env[name] = value
	}
	f.imap = harness.IMAPUnderCourier(t, f.addr, bin(t, "imapd-proxy"), env)
	f.pop3 = harness.POP3UnderCourier(t, f.addr, bin(t, "pop3d-proxy"), env)
}

// each runs a test in every set-up, at the same time.
func each(t *testing.T, fronts []front, test func(*testing.T, front)) {
	t.Run("fronts", func(t *testing.T) {
		for _, f := range fronts {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				test(t, f)
			})
		}
	})
}
