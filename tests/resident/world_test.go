package resident

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"mailproxy/tests/harness"
)

const proxy = "127.0.1.1"

// side is one of the two protocols.
type side struct {
	name, program string
	port          int
	// login logs NAME in, with PASSWORD, work does something, bye ends the session.
	login, work, bye string
}

var sides = []side{
	{"IMAP", "imapd-proxy", 143, `
		S* \* OK .*
		C: a1 LOGIN NAME "PASSWORD"
		S* a1 OK .*
	`, `
		C: a2 STATUS INBOX (MESSAGES)
		S* a2 OK .*
	`, `
		C: a3 LOGOUT
		S* a3 OK .*
		S-
	`},
	{"POP3", "pop3d-proxy", 110, `
		S~ \+OK .*
		C: USER NAME
		S~ \+OK .*
		C: PASS PASSWORD
		S~ \+OK .*
	`, `
		C: STAT
		S~ \+OK 1 .*
	`, `
		C: QUIT
		S~ \+OK .*
		S-
	`},
}

// users have an account each, on Courier and on Dovecot.
var users = []harness.Mailbox{
	{
		Account: harness.Account{Name: "carla", Password: "secret"},
		Host:    harness.CourierHost, Subjects: []string{"1"},
	},
	{
		Account: harness.Account{Name: "dora", Password: "secret"},
		Host:    harness.DovecotHost, Subjects: []string{"1"},
	},
}

// as puts an account into a dialogue.
func as(dialogue, user string) string {
	return strings.NewReplacer("NAME", user, "PASSWORD", "secret").Replace(dialogue)
}

// frontEnd is a resident front end, and its settings in a file.
type frontEnd struct {
	*harness.Process
	side
	settings string
	env      []string
}

// newFrontEnd writes settings for a front end of which nothing runs yet.
func newFrontEnd(t *testing.T, s side, relayd *harness.Service) *frontEnd {
	t.Helper()
	f := &frontEnd{side: s, settings: filepath.Join(harness.Dir(t), "settings")}
	socket := ""
	if relayd != nil {
		socket = relayd.Socket
	}
	f.env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", s.name + "_PROXY=1", "RELAY_SOCKET=" + socket,
		"LOGIN_TIMEOUT=600",
		"GORACE=" + os.Getenv("GORACE")}
	f.configure(t, s.name+"_CAPABILITY=\"IMAP4rev1 IDLE X-FIRST\"\n")
	return f
}

func (f *frontEnd) configure(t *testing.T, text string) {
	t.Helper()
	harness.WriteFile(t, f.settings, text, 0o644)
}

// arguments are those of the program, with its name.
func (f *frontEnd) arguments(t *testing.T, more ...string) []string {
	return append([]string{harness.Bin(t, f.program), "-user", "courier", "-config", f.settings}, more...)
}

// listen starts it with -listen.
func (f *frontEnd) listen(t *testing.T) {
	t.Helper()
	args := f.arguments(t, "-listen", f.addr())
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = f.env
	f.Process = harness.Start(t, cmd)
	if !harness.Eventually(func() bool { return harness.Listening(t, f.addr()) }) {
		t.Fatalf("nobody listens:\n%s", f.Log)
	}
}

func (f *frontEnd) addr() string { return fmt.Sprintf("%s:%d", proxy, f.port) }

var takenOver = regexp.MustCompile(`sessions taken over by process (\d+)`)

// pid is that of the newest process; n is how many have taken over.
func (f *frontEnd) pid() (pid, n int) {
	pid = f.Cmd.Process.Pid
	for _, m := range takenOver.FindAllStringSubmatch(f.Log.String(), -1) {
		pid, _ = strconv.Atoi(m[1])
		n++
	}
	return pid, n
}

// reload has another process take over.
func (f *frontEnd) reload(t *testing.T) {
	t.Helper()
	pid, n := f.pid()
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	f.Log.WaitN(t, n+1, `^INFO: \d+ sessions passed on to process`)
	f.Log.WaitN(t, n+1, takenOver.String()) // another process's line, which may come later
}
