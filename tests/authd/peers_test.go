package authd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// asNobody is a command of an ordinary user; groups is setpriv's option.
func asNobody(groups string, command ...string) *exec.Cmd {
	return exec.Command("setpriv", append([]string{"--reuid=nobody", "--regid=nogroup", groups}, command...)...)
}

// asks asks a daemon for ann as an ordinary user, who is in a further group or in none.
func asks(socket, group string) string {
	const ask = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
answer = b""
try:
    s.sendall(b"PRE . imap ann\n")
    s.shutdown(socket.SHUT_WR)
    while part := s.recv(4096): answer += part
except (BrokenPipeError, ConnectionResetError): pass
print(answer.decode())
`
	groups := "--clear-groups"
	if group != "" {
		groups = "--groups=" + group
	}
	out, err := asNobody(groups, "/usr/bin/python3", "-c", ask, socket).CombinedOutput()
	if err != nil {
		return err.Error() + "\n" + string(out)
	}
	return strings.TrimSpace(string(out))
}

// TestWhoIsAnswered: at Courier's path everybody in the group courier, as a supplementary group is enough;
// elsewhere root, the daemon's own user and those of -allow. Others get no answer, however they got to the
// socket, and are named in the log.
func TestWhoIsAnswered(t *testing.T) {
	ann(t, "authuserdb", nil)
	for _, test := range []struct {
		name, directory, allow, group string
		answered                      bool
	}{
		{"Courier's path, its group", "", "", "courier", true},
		{"Courier's path, nobody", "", "", "", false},
		{"Courier's path, another group", "", "", "mail", false},
		{"Courier's path, another group allowed", "", "@mail", "mail", true},
		{"Courier's path, only others allowed", "", "@mail", "courier", false},
		{"own path, Courier's group", "run", "", "courier", false},
		{"own path, Courier's group allowed", "run", "@courier", "courier", true},
		{"own path, user allowed", "run", "daemon,nobody", "", true},
		{"own path, others allowed", "run", "daemon,@courier", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			directory, socket := "/etc/courier", harness.CourierAuthSocket
			if test.directory != "" {
				dir := harness.Dir(t)
				if err := os.Chmod(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				socket = filepath.Join(dir, "run", "socket")
				harness.Authdaemonrc(t, "authuserdb", harness.Env{"authdaemonvar": filepath.Dir(socket)})
			} else {
				harness.Authdaemonrc(t, "authuserdb", nil)
			}
			os.Remove(socket)
			p := harness.Start(t, exec.Command(harness.Bin(t, "authdaemond"), "-config", directory, "-allow",
				test.allow))
			p.Log.Wait(t, "INFO: authdaemond .*socket "+socket)
			if err := os.Chmod(filepath.Dir(socket), 0o755); err != nil {
				t.Fatal(err)
			}
			got := asks(socket, test.group)
			if test.answered != strings.Contains(got, "ADDRESS=ann") || !test.answered && got != "" {
				t.Errorf("%q", got)
			}
			if test.name == "Courier's path, its group" {
				out, err := asNobody("--groups=courier", "authtest", "ann", "secret").CombinedOutput()
				if err != nil || !strings.Contains(string(out), "Authenticated: ann") {
					t.Errorf("authtest: %v, %s", err, out)
				}
			}
			if !test.answered {
				p.Log.Wait(t, `ERR: a client is not answered, see -allow: user \d+ \(nobody\), group`)
				for range 20 { // one line for many
					asks(socket, test.group)
				}
				if lines := p.Log.Find("is not answered"); len(lines) > 10 {
					t.Errorf("%d lines", len(lines))
				}
			}
			if got := login(&authlib.Client{Socket: socket}); got != "ann " {
				t.Errorf("root: %s", got)
			}
			p.Stop()
		})
	}
}

// TestWhoListens: a client tells no password to a listener that is neither root's nor somebody's who was
// named.
func TestWhoListens(t *testing.T) {
	dir := harness.Dir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "socket")
	const listen = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(16)
while True:
    c, _ = s.accept()
    said = c.recv(4096)
    print("told", said, flush=True)
    if said: c.sendall(b"USERNAME=ann\nUID=5\nGID=5\nHOME=/\nADDRESS=ann\n.\n")
    c.close()
`
	p := harness.Start(t, asNobody("--clear-groups", "/usr/bin/python3", "-c", listen, socket))
	client := &authlib.Client{Socket: socket, Users: []string{"courier"}}
	if !harness.Eventually(func() bool { return strings.Contains(login(client), "who listens: user ") }) {
		t.Errorf("%s", login(client))
	}
	p.Log.Wait(t, `told b''`)
	if got := login(client); !strings.Contains(got, "(nobody)") || !strings.Contains(got, "AUTHDAEMON_USER") {
		t.Error(got)
	}
	if told := p.Log.Find("secret"); len(told) > 0 {
		t.Errorf("the password was told: %q", told)
	}
	client.Users = append(client.Users, "nobody")
	if got := login(client); got != "ann " {
		t.Error(got)
	}
}

// TestRootFollowsNoLink: the directory of the socket, or its metrics' one, is a link that the daemon's user
// has put there. The daemon ends or goes without, and what the link leads to stays root's.
func TestRootFollowsNoLink(t *testing.T) {
	ann(t, "authuserdb", nil)
	dir := harness.Dir(t)
	own, victim := filepath.Join(dir, "own"), filepath.Join(dir, "victim")
	for _, d := range []string{own, victim} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(victim, filepath.Join(own, "run")); err != nil {
		t.Fatal(err)
	}
	harness.Run(t, "", "chown", "-h", "courier:courier", own, filepath.Join(own, "run"))
	unchanged := func() {
		t.Helper()
		if got := strings.TrimSpace(harness.Run(t, "", "stat", "-c", "%U:%G:%a", victim)); got != "root:root:700" {
			t.Errorf("what the link leads to is now %s", got)
		}
		if made, _ := os.ReadDir(victim); len(made) > 0 {
			t.Errorf("made there: %v", made)
		}
	}
	harness.Authdaemonrc(t, "authuserdb", harness.Env{"authdaemonvar": filepath.Join(own, "run")})
	p := harness.Start(t, exec.Command(harness.Bin(t, "authdaemond"), "-user", "courier"))
	p.Log.Wait(t, `ERR: socket .*/own/run/socket: .*/own/run: not a directory but a link`)
	if status := p.Wait(t); status != 111 {
		t.Errorf("status %d", status)
	}
	unchanged()
	harness.Authdaemonrc(t, "authuserdb", harness.Env{"AUTH_METRICS": filepath.Join(own, "run", "metrics")})
	p = daemon(t, harness.Bin(t, "authdaemond"), "-user", "courier")
	p.Log.Wait(t, `ERR: no metrics: AUTH_METRICS: socket .*/own/run: not a directory but a link`)
	unchanged()
}
