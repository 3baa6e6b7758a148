package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAllow: root, the service's own user, and the users and groups of -allow are served; others are not, and
// named in the log, once for many.
func TestAllow(t *testing.T) {
	for _, test := range []struct {
		allow  string
		caller syscall.Credential
		served bool
	}{
		{"", syscall.Credential{Uid: 0, Gid: 40001}, true},
		{"", syscall.Credential{Uid: 40001, Gid: 0}, false},
		{"40001", syscall.Credential{Uid: 40001, Gid: 40001}, true},
		{"@daemon", syscall.Credential{Uid: 40001, Gid: 1}, true},
		{"@daemon", syscall.Credential{Uid: 40001, Gid: 40001, Groups: []uint32{40002, 1}}, true},
		{"40002,@daemon", syscall.Credential{Uid: 40001, Gid: 40001, Groups: []uint32{40002}}, false},
	} {
		p := startProcess(t, "-allow", test.allow)
		for dir := filepath.Dir(p.socket); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		ask := func() string {
			cmd := exec.Command("/proc/self/exe")
			cmd.Args = []string{"relayd", "-socket", p.socket, "who"}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &test.caller}
			out, err := cmd.CombinedOutput()
			if err != nil && cmd.ProcessState == nil {
				t.Fatalf("these tests need root: %v", err)
			}
			return string(out)
		}
		answer := ask()
		if test.served {
			if answer != "" {
				t.Errorf("-allow %q, %+v: %s", test.allow, test.caller, answer)
			}
			continue
		}
		for range 5 {
			answer = ask()
			if !strings.Contains(answer, "may this user ask it?") {
				t.Errorf("-allow %q, %+v: %q", test.allow, test.caller, answer)
			}
		}
		const line = "ERR: relayd: a caller may not use this socket, see -allow: user 40001, group "
		p.until("a line about the caller", func() bool { return strings.Contains(p.log.String(), line) })
		if n := strings.Count(p.log.String(), line); n > 2 {
			t.Errorf("%d lines", n)
		}
	}
}

// TestOwnSocket: relayd makes no socket in a directory that others can write to, and a socket for metrics
// that it cannot make is no reason to serve no sessions.
func TestOwnSocket(t *testing.T) {
	dir := t.TempDir()
	shared := filepath.Join(dir, "shared")
	err := os.Mkdir(shared, 0o777)
	if err == nil {
		err = os.Chmod(shared, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"relayd", "-socket", filepath.Join(shared, "socket")}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "nobody else may write to it") {
		t.Errorf("%v, %s", err, out)
	}
	p := startProcess(t, "-metrics", "unix:"+filepath.Join(shared, "metrics"))
	p.until("a line about the metrics", func() bool {
		return strings.Contains(p.log.String(), "ERR: relayd: no metrics: socket "+shared+"/metrics: directory")
	})
}
