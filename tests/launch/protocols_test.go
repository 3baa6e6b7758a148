// Package launch runs the front ends under every launcher they are meant for, with Courier's start scripts
// and with the sample files of etc/ as they are.
//
// What is not tested here: systemd itself. Its units are run by systemd-socket-activate, which passes
// connections as systemd does but knows nothing of hardening; systemd-analyze reads them.
package launch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mailproxy/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// proxy is where the launchers listen, mailhost where the accounts that are not here live.
const (
	proxy    = "127.0.0.1"
	mailhost = harness.CourierHost
)

// side is one of the two protocols.
type side struct{ harness.Protocol }

var imap, pop3 = side{harness.IMAP}, side{harness.POP3}

var sides = []side{imap, pop3}

// world starts a Courier mailhost and its authdaemond with two accounts, "here" and "there".
func world(t *testing.T) {
	t.Helper()
	one := []string{"one"}
	harness.Site{Mailboxes: []harness.Mailbox{
		{Account: harness.Account{Name: "here", Password: "pw"}, Subjects: one},
		{Account: harness.Account{Name: "there", Password: "pw"}, Subjects: one, Host: mailhost},
	}}.Start(t)
}

// env are the settings of a side, short delays included.
func (s side) env(more ...string) harness.Env {
	env := harness.Env{s.Name + "_PROXY": "1", "LOGIN_FAIL_DELAY": "0"}
	for _, m := range more {
		name, value, _ := strings.Cut(m, "=")
		env[name] = value
	}
	return env
}

// arguments are what a launcher starts.
func (s side) arguments(t *testing.T, options ...string) []string {
	return append(append([]string{harness.Bin(t, s.Program)}, options...), s.LocalServer, "Maildir")
}

// sessions plays a failed login, a session of the account there and one of the account here.
func (s side) sessions(t *testing.T, addr string) {
	t.Helper()
	for _, dialogue := range []string{s.refusal(), s.Session("there", "pw"), s.Session("here", "pw")} {
		harness.Dialogue(t, addr, dialogue).Conn.Close()
	}
}

// refusal is a session whose login fails.
func (s side) refusal() string {
	return s.Greeting + s.Credentials("here", "wrong") + s.Refused + s.Logout
}

// wantLog waits for the lines that the sessions leave, in whatever form: the level's prefix is the launcher's
// affair.
func (s side) wantLog(t *testing.T, log *harness.Log, ip string) {
	t.Helper()
	ip = strings.ReplaceAll(ip, ".", `\.`)
	log.WaitN(t, 1, `LOGIN FAILED, user=here, ip=\[`+ip+`\], port=\[[0-9]+\]$`)
	log.WaitN(t, 1, `LOGIN, user=there, ip=\[`+ip+`\], port=\[[0-9]+\], protocol=`+s.Name+`$`)
	log.WaitN(t, 1, `LOGOUT, user=there, ip=\[`+ip+`\], port=\[[0-9]+\], mailhost=`+mailhost+
		`, rcvd=[0-9]+, sent=[0-9]+, time=[0-9]+, protocol=`+s.Name+`$`)
}

// overlay makes directories of the machine writable for the tests of this package alone.
func overlay(t *testing.T, directories ...string) {
	t.Helper()
	for _, directory := range directories {
		dir := harness.Dir(t)
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		upper, work := filepath.Join(dir, "upper"), filepath.Join(dir, "work")
		for _, d := range []string{upper, work} {
			if err := os.Mkdir(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Mount("overlay", directory, "overlay", 0,
			"lowerdir="+directory+",upperdir="+upper+",workdir="+work); err != nil {
			t.Fatalf("overlay %s: %v", directory, err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(directory, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
}
