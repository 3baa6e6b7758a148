package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mailproxy/internal/identity"
)

// The first user of the list that the system has is the one; a line that is none has no user.
func TestDefaultUsers(t *testing.T) {
	for users, want := range map[string]string{
		"courier2:x:9:9::/: courier:x:104:111::/:":       "104",
		"mailproxy:x:7:7::/: mailproxy-login:x:8:8::/:":  "8",
		"courier:x mailproxy:x:many:1::/: courier:x:::/": "65534",
	} {
		lines := append(strings.Fields(users), "nobody:x:65534:65534::/:")
		passwd := filepath.Join(t.TempDir(), "passwd")
		must(t, os.WriteFile(passwd, []byte(strings.Join(lines, "/bin/false\n")+"/bin/false\n"), 0o644))
		out, err := program(t, "passwd", passwd, "drop", "").Output()
		if err != nil || !strings.HasPrefix(string(out), "Uid: "+want+" "+want+" ") {
			t.Errorf("%s: %v, %s; want %s", users, err, out, want)
		}
	}
}

// A user whose ids no session may have is none to drop root for, and the process stays what it was.
func TestDropRootRefuses(t *testing.T) {
	passwd := passwdFileOf(t)
	for user, want := range map[string]string{
		"uid-root": "has uid 0 and gid 100", "gid-root": "has uid 100 and gid 0",
		"uid-none": "has uid 4294967295 and gid 100", "gid-none": "has uid 100 and gid 4294967295",
	} {
		out, err := program(t, "passwd", passwd, "drop", user).Output()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, %q; want %q", user, err, out, want)
		}
	}
}

// Every thread is another user then, may run where it might before, and is in no group, whatever it was in.
func TestDropRoot(t *testing.T) {
	status, err := os.ReadFile("/proc/self/status")
	must(t, err)
	_, processors, _ := strings.Cut(string(status), "\nCpus_allowed_list:\t")
	processors, _, _ = strings.Cut(processors, "\n")
	for _, groups := range [][]uint32{nil, {0, 4, 24}} {
		threads := 0
		command := program(t, "drop", "nobody")
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Groups: groups}}
		out, err := command.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			switch strings.TrimSpace(line) {
			case "Uid: 65534 65534 65534 65534", "Gid: 65534 65534 65534 65534", "Cpus_allowed_list: " + processors:
			case "Groups:":
				threads++
			default:
				t.Errorf("in groups %d: a thread has %s", groups, line)
			}
		}
		if threads < 2 {
			t.Errorf("%d threads, which proves nothing", threads)
		}
	}
	for name, want := range map[string]string{
		"root": `PROXY_USER: system user "root" has uid 0 and gid 0, which no session may have`,
		"no-such-user": `PROXY_USER: system user "no-such-user": user: unknown user no-such-user ` +
			"(names are looked up in /etc/passwd only)",
	} {
		if out, err := program(t, "drop", name).Output(); err == nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s: %v, %q; want %q", name, err, out, want)
		}
	}
	if out, err := program(t, "drop", "").Output(); err != nil {
		t.Errorf("default users: %v: %s", err, out)
	}
}

// A program that opens its files afterwards keeps the user's groups, but for root's, and gains no rights by
// programs that it starts.
func TestDropRootAtStart(t *testing.T) {
	command := program(t, "drop", "games", "at start")
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Groups: []uint32{0, 4}}}
	want, err := identity.Lookup("games")
	must(t, err)
	groups := "Groups:"
	for _, g := range want.Groups {
		groups += fmt.Sprint(" ", g)
	}
	id := fmt.Sprintf("%d %[1]d %[1]d %[1]d", want.UID)
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	threads, flagged := 0, 0
	for line := range strings.Lines(string(out)) {
		switch line = strings.TrimSpace(line); {
		case line == "Uid: "+id, strings.HasPrefix(line, "Gid: "), strings.HasPrefix(line, "Cpus_allowed_list: "):
		case line == groups:
			threads++
		case line == "NoNewPrivs: 1":
			flagged++
		case line == "NoNewPrivs: 0": // of other threads where the test is linked with cgo, see identity
		default:
			t.Errorf("a thread has %s", line)
		}
	}
	if threads < 2 || flagged == 0 {
		t.Errorf("%d threads with %s, which proves nothing:\n%s", threads, groups, out)
	}
}
