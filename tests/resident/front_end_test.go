package resident

import (
	"path/filepath"
	"testing"

	"mailproxy/tests/harness"
)

const (
	proxy  = "127.0.1.1"
	secret = "secret" // everybody's password
)

// users have an account each, on Courier and on Dovecot.
var users = []harness.Mailbox{
	{
		Account: harness.Account{Name: "carla", Password: secret},
		Host:    harness.CourierHost, Subjects: []string{"1"},
	},
	{
		Account: harness.Account{Name: "dora", Password: secret},
		Host:    harness.DovecotHost, Subjects: []string{"1"},
	},
}

// frontEnd is a resident front end at proxy, with one of its settings in a file and the others in env.
type frontEnd struct {
	*harness.Process
	harness.Protocol
	settings string
	env      harness.Env
}

// newFrontEnd writes settings for a front end of which nothing runs yet.
func newFrontEnd(t *testing.T, p harness.Protocol, relayd *harness.Service) *frontEnd {
	t.Helper()
	f := &frontEnd{Protocol: p, settings: filepath.Join(harness.Dir(t), "settings"),
		env: harness.Env{p.Name + "_PROXY": "1", "RELAY_SOCKET": "", "LOGIN_TIMEOUT": "600"}}
	if relayd != nil {
		f.env["RELAY_SOCKET"] = relayd.Socket
	}
	f.configure(t, p.Name+"_CAPABILITY=\"IMAP4rev1 IDLE X-FIRST\"\n")
	return f
}

func (f *frontEnd) configure(t *testing.T, text string) {
	t.Helper()
	harness.WriteFile(t, f.settings, text, 0o644)
}

// arguments are those under a launcher, with the program.
func (f *frontEnd) arguments(t *testing.T, more ...string) []string {
	args := []string{harness.Bin(t, f.Program), "-user", harness.ResidentUser, "-config", f.settings}
	return append(args, more...)
}

// listen starts it with -listen and more options.
func (f *frontEnd) listen(t *testing.T, more ...string) {
	t.Helper()
	f.listenWith(t, harness.Bin(t, f.Program), more...)
}

func (f *frontEnd) listenWith(t *testing.T, program string, more ...string) {
	t.Helper()
	f.Process = harness.StartResident(t, program, f.env, append(more, "-config", f.settings), f.addr())
}

func (f *frontEnd) addr() string { return f.At(proxy) }
