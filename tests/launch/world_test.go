// Package launch runs the front ends under every launcher they are meant for, with Courier's start scripts
// and with the sample files of etc/ as they are.
//
// What is not tested here: systemd itself. Its units are run by systemd-socket-activate, which passes
// connections as systemd does but knows nothing of hardening; systemd-analyze reads them.
package launch

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mailproxy/tests/harness"
	"mailproxy/tests/transcript"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// proxy is where the launchers listen, mailhost where the accounts that are not here live.
const (
	proxy    = "127.0.0.1"
	mailhost = harness.CourierHost
)

// side is one of the two protocols.
type side struct {
	name, program, server string
	config                string
	port                  int
	proxySetting          string
	// login is a dialogue that logs NAME in, with PASSWORD, and says good-bye; refused is a failed login.
	login, refused string
}

var sides = []side{
	{"IMAP", "imapd-proxy", harness.CourierIMAPD, "imapd", 143, "IMAP_PROXY", `
S~ \* OK \[CAPABILITY .*
C: a1 LOGIN NAME PASSWORD
S~ a1 OK .*
C: a2 STATUS INBOX (MESSAGES)
S~ \* STATUS "?INBOX"? \(MESSAGES 1\)
S~ a2 OK .*
C: a3 LOGOUT
S~ \* BYE .*
S~ a3 OK .*
S-
`, `
S~ \* OK .*
C: a1 LOGIN NAME wrong
S~ a1 NO \[AUTHENTICATIONFAILED\] .*
C: a2 LOGOUT
S~ \* BYE .*
S~ a2 OK .*
S-
`},
	{"POP3", "pop3d-proxy", harness.CourierPOP3D, "pop3d", 110, "POP3_PROXY", `
S~ \+OK .*
C: USER NAME
S~ \+OK .*
C: PASS PASSWORD
S~ \+OK .*
C: STAT
S~ \+OK 1 .*
C: QUIT
S~ \+OK .*
S-
`, `
S~ \+OK .*
C: USER NAME
S~ \+OK .*
C: PASS wrong
S~ -ERR \[AUTH\] .*
C: QUIT
S~ \+OK .*
S-
`},
}

// world starts a Courier mailhost and its auth daemon with two accounts, "here" and "there".
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
	env := harness.Env{s.proxySetting: "1", "LOGIN_FAIL_DELAY": "0"}
	for _, m := range more {
		name, value, _ := strings.Cut(m, "=")
		env[name] = value
	}
	return env
}

// arguments are what a launcher starts.
func (s side) arguments(t *testing.T, options ...string) []string {
	return append(append([]string{harness.Bin(t, s.program)}, options...), s.server, "Maildir")
}

func (s side) addr(ip string) string { return net.JoinHostPort(ip, fmt.Sprint(s.port)) }

// sessions plays a failed login, a session of the account there and one of the account here.
func (s side) sessions(t *testing.T, addr string) {
	t.Helper()
	for _, dialogue := range []struct{ text, name string }{{s.refused, "here"}, {s.login, "there"},
		{s.login, "here"}} {
		harness.Dialogue(t, addr, replace(dialogue.text, dialogue.name)).Conn.Close()
	}
}

// replace puts an account into a dialogue.
func replace(dialogue, name string) string {
	return strings.NewReplacer("NAME", name, "PASSWORD", "pw").Replace(dialogue)
}

// wantLog waits for the lines that the sessions leave, in whatever form: the level's prefix is the launcher's
// affair.
func (s side) wantLog(t *testing.T, log *harness.Log, ip string) {
	t.Helper()
	ip = strings.ReplaceAll(ip, ".", `\.`)
	log.WaitN(t, 1, `LOGIN FAILED, user=here, ip=\[`+ip+`\], port=\[[0-9]+\]$`)
	log.WaitN(t, 1, `LOGIN, user=there, ip=\[`+ip+`\], port=\[[0-9]+\], protocol=`+s.name+`$`)
	log.WaitN(
		t,
		1,
		`LOGOUT, user=there, ip=\[`+ip+`\], port=\[[0-9]+\], mailhost=`+mailhost+`, rcvd=[0-9]+, sent=[0-9]+, time=[0-9]+, protocol=`+s.name+`$`,
	)
}

// overlay makes directories of the machine writable for the tests of this package alone.
func overlay(t *testing.T, folders ...string) {
	t.Helper()
	for _, folder := range folders {
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
		if err := unix.Mount("overlay", folder, "overlay", 0,
			"lowerdir="+folder+",upperdir="+upper+",workdir="+work); err != nil {
			t.Fatalf("overlay %s: %v", folder, err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(folder, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
}

func play(t *testing.T, r *transcript.Runner, text string) {
	t.Helper()
	scripts, err := transcript.Parse("script", strings.NewReader(text))
	if err == nil {
		err = r.Play(scripts[0])
	}
	if err != nil {
		t.Fatal(err)
	}
}
