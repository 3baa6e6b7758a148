package resident

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mailproxy/internal/config"
)

// CheckFiles is for TestMain: in a process that check has started it checks the files of the settings in the
// environment, prints what is wrong, and ends the process.
func CheckFiles() {
	if os.Getenv("RESIDENT_TEST_CHECK") == "" {
		return
	}
	c, err := config.Load(nil, os.Environ(), config.IMAP)
	if err == nil {
		err = checkFiles(c, false)
	}
	if err != nil {
		fmt.Print(err)
	}
	os.Exit(0)
}

// check runs checkFiles as the user nobody, which is in the groups.
func check(t *testing.T, groups []uint32, settings ...string) string {
	t.Helper()
	command := exec.Command("/proc/self/exe")
	command.Env = append(settings, "RESIDENT_TEST_CHECK=1", "GORACE="+os.Getenv("GORACE"))
	command.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: 65534, Gid: 65534, Groups: groups},
	}
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// openDir is a directory that everybody may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path string, mode os.FileMode, gid int) {
	t.Helper()
	if err := os.WriteFile(path, []byte("x"), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 0, gid); err != nil {
		t.Fatal(err)
	}
}

// Each file that cannot be read is named, with the setting, the user and the command that mends it.
func TestCheckFiles(t *testing.T) {
	const keys = 4711
	dir := openDir(t)
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("public"), 0o644, 0)
	write(t, at("group"), 0o640, keys)
	write(t, at("root"), 0o600, 0)
	write(t, at("two.pem"), 0o644, 0)
	write(t, at("two.pem.mail.example.com"), 0o600, 0)
	write(t, at("two.pem.old"), 0o600, 0)
	write(t, at("cache.keys"), 0o600, 0)
	write(t, filepath.Join(closed, "key"), 0o644, 0)

	denied := ": permission denied"
	chgrp := func(name string) string {
		return fmt.Sprintf("chgrp mailproxy-keys %s; chmod 0640 %s", at(name), at(name))
	}
	for name, test := range map[string]struct {
		settings string
		want     []string // of each line; nil = nothing is wrong
	}{
		"no files": {"", nil},
		"all can be read": {
			"IMAP_STARTTLS=YES TLS_CERTFILE=DIR/public TLS_PRIVATE_KEYFILE=DIR/group", nil,
		},
		"not used": {"IMAP_STARTTLS=NO TLS_CERTFILE=DIR/root PROXY_TLS_TRUSTCERTS=DIR/root", nil},
		"key": {
			"IMAP_STARTTLS=YES TLS_CERTFILE=DIR/public TLS_PRIVATE_KEYFILE=DIR/root",
			[]string{
				"TLS_PRIVATE_KEYFILE: user nobody cannot read " + at("root") + denied + "; this helps: ",
				chgrp("root"),
			},
		},
		"missing": {
			"IMAP_STARTTLS=YES TLS_CERTFILE=DIR/none",
			[]string{"TLS_CERTFILE: user nobody cannot read " + at("none") + ": no such file or directory"},
		},
		"one of several": {
			"IMAP_STARTTLS=YES TLS_CERTFILE=DIR/public_DIR/root",
			[]string{"TLS_CERTFILE: user nobody cannot read " + at("root") + denied},
		},
		"of a name": {
			"IMAP_STARTTLS=YES TLS_CERTFILE=DIR/two.pem",
			[]string{"TLS_CERTFILE: user nobody cannot read " + at("two.pem.mail.example.com") + denied},
		},
		"directory": {
			"IMAP_TLS=1 TLS_CERTFILE=DIR/closed/key",
			[]string{" as it may not enter " + closed + "; this helps: setfacl -m u:nobody:x " + closed},
		},
		"tickets": {
			"IMAP_TLS=1 TLS_CERTFILE=DIR/public TLS_CACHEFILE=DIR/cache",
			[]string{"TLS_CACHEFILE: user nobody cannot read " + at("cache.keys") + denied},
		},
		"no tickets yet": {"IMAP_TLS=1 TLS_CERTFILE=DIR/public TLS_CACHEFILE=DIR/other", nil},
		"master password": {
			"PROXY_MASTER_USER=m PROXY_MASTER_PASSWORD_FILE=DIR/root",
			[]string{"PROXY_MASTER_PASSWORD_FILE: "},
		},
		"master password that everybody may read": {
			"PROXY_MASTER_USER=m PROXY_MASTER_PASSWORD_FILE=DIR/public",
			[]string{"PROXY_MASTER_PASSWORD_FILE: " + at("public") + ": everybody may use it (mode 0644)"},
		},
		"short SCRAM secret": {
			"SCRAM_SECRET_FILE=DIR/group", []string{"SCRAM_SECRET_FILE: " + at("group") +
				": its first line is shorter"},
		},
		"trusted": {
			"PROXY_TLS=YES PROXY_TLS_TRUSTCERTS=DIR/closed",
			[]string{
				"PROXY_TLS_TRUSTCERTS: user nobody cannot read " + closed + denied +
					"; this helps: setfacl -m u:nobody:rx " + closed,
			},
		},
		"trusted, for mailhosttls": {
			"IMAP_PROXY=1 PROXY_TLS_TRUSTCERTS=DIR/closed",
			[]string{"PROXY_TLS_TRUSTCERTS: user nobody cannot read " + closed},
		},
		"auth daemon": {
			"AUTHDAEMON_SOCKET=DIR/closed/socket",
			[]string{"AUTHDAEMON_SOCKET: user nobody cannot connect to " + closed + "/socket" + denied},
		},
		"no auth daemon yet": {
			"AUTHDAEMON_SOCKET=DIR/socket AUTHDAEMON_PROGRAM=DIR/program AUTHDAEMON_CONFIG=DIR/etc", nil,
		},
		"auth daemon's program": {
			"AUTHDAEMON_PROGRAM=DIR/root",
			[]string{
				"AUTHDAEMON_PROGRAM: user nobody cannot run " + at("root") + denied +
					"; this helps: setfacl -m u:nobody:rx " + at("root"),
			},
		},
		"auth daemon's directory": {
			"AUTHDAEMON_CONFIG=DIR/closed",
			[]string{
				"AUTHDAEMON_CONFIG: user nobody cannot enter " + closed + denied +
					"; this helps: setfacl -m u:nobody:x " + closed,
			},
		},
		"SCRAM": {
			"SCRAM_SECRET_FILE=DIR/root",
			[]string{"SCRAM_SECRET_FILE: user nobody cannot read " + at("root") + denied, chgrp("root")},
		},
		"two": {
			"IMAP_TLS=1 TLS_CERTFILE=DIR/root PROXY_MASTER_USER=m PROXY_MASTER_PASSWORD_FILE=DIR/root",
			[]string{"TLS_CERTFILE: ", "PROXY_MASTER_PASSWORD_FILE: "},
		},
	} {
		settings := strings.Fields(strings.ReplaceAll(test.settings, "DIR", dir))
		for i := range settings {
			settings[i] = strings.ReplaceAll(settings[i], "_/", " /")
		}
		got := check(t, []uint32{keys}, append([]string{"AUTHDAEMON_SOCKET=" + at("none")}, settings...)...)
		if got != "" && test.want == nil {
			t.Errorf("%s: %s", name, got)
		}
		for _, want := range test.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q, want %q in it", name, got, want)
			}
		}
	}
}
