package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A user whose ids nobody may have is none to serve sessions as: setresgid(2) takes 4294967295 for "leave it
// as it is", so that the service kept root's group.
func TestUserIDs(t *testing.T) {
	dir := t.TempDir()
	passwd, program := filepath.Join(dir, "passwd"), filepath.Join(dir, "relayd")
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, program)
	}
	if err == nil {
		err = os.WriteFile(passwd, []byte("root:x:0:0::/:/bin/sh\nuid-root:x:0:100::/:/bin/false\n"+
			"gid-root:x:100:0::/:/bin/false\nuid-none:x:4294967295:100::/:/bin/false\n"+
			"gid-none:x:100:4294967295::/:/bin/false\nlarge:x:4294967396:100::/:/bin/false\n"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]string{
		"uid-root": "has uid 0 and gid 100", "gid-root": "has uid 100 and gid 0",
		"uid-none": `"4294967295": not a user's`, "gid-none": "has uid 100 and gid 4294967295", "large": "no user",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c",
			`mount --bind "$1" /etc/passwd && exec "$2" -socket "$3" -user "$4"`, "sh", passwd, program,
			filepath.Join(dir, user), user)
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if ctx.Err() != nil {
			t.Errorf("%s: it serves: %s", user, out)
		} else if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, %q; want %q", user, err, out, want)
		}
		cancel()
	}
}
