package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/identity"
)

// directory makes a configuration directory.
func directory(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const testUserdb = "ann\tuid=1000|gid=1001|home=/home/ann|mail=M|quota=1S|options=mailhost=m1:144|" +
	"systempw={SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n" +
	"root\tuid=0|gid=0|home=/root\n" +
	"odd\tuid=1000|gid=1001|home=/home/odd|systempw={FOO}geheim\n"

// call runs the program and returns its exit status and output.
func call(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p := &program{getenv: func(string) string { return "" }, stdout: &out, stderr: &errs, now: time.Now}
	status = p.run(context.Background(), args)
	return status, out.String(), errs.String()
}

func TestCommands(t *testing.T) {
	dir := directory(t, map[string]string{"userdb": testUserdb, "authdaemonrc": "DEFAULTOPTIONS=d=1\n"})
	bad := directory(t, map[string]string{"userdb": testUserdb,
		"authdaemonrc": "authmodulelist=\"authuserdb authfoo\"\n"})
	broken := directory(t, map[string]string{"authdaemonrc": "daemons=x\n"})
	empty := directory(t, nil)
	const noModule = "ERR: authfoo: no such module, there are authldap, authmysql, authpgsql, authuserdb; "
	succeeded := "Authentication succeeded.\n\n     Authenticated: ann  (uid 1000, gid 1001)\n" +
		"    Home Directory: /home/ann\n           Maildir: M\n" +
		"             Quota: 1S\nEncrypted Password: {SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n" +
		"Cleartext Password: secret\n" +
		"           Options: mailhost=m1:144,d=1\n          Mailhost: m1:144\n            Module: authuserdb\n"
	for _, test := range []struct {
		args           string
		status         int
		stdout, stderr string // stderr: a part
	}{
		{"-version", 0, "authdaemond dev\n", ""},
		{"-config " + dir + " test ann secret", 0, succeeded, ""},
		{"-config " + dir + " test ann", 0, strings.Replace(succeeded, "Password: secret", "Password: (none)", 1),
			""},
		{"-config " + dir + " test ann wrong", 1, "",
			"Authentication FAILED: no such account, or wrong password\n"},
		{"-config " + dir + " test nobody", 1, "", "Authentication FAILED: no such account"},
		{"-config " + dir + " test odd geheim", 111, "",
			`account "odd" cannot be used: unknown password scheme {FOO}`},
		{"-config " + dir + " test root x", 111, "",
			`account "root" cannot be used: uid="0": not a decimal number from 1 to 4294967294`},
		{"-config " + dir + " test ann " + strings.Repeat("x", 513), 1, "",
			"Authentication FAILED: password too long: more than 512 bytes\n"},
		{"-config " + dir + " test ann secret " + strings.Repeat("x", 513), 1, "",
			"not changed: password too long: more than 512 bytes"},
		{"-config " + dir + " test", 100, "", "usage:"},
		{"-config " + dir + " test a b c d", 100, "", "usage:"},
		{"-config " + dir + " enumerate", 0,
			"ann\t1000\t1001\t/home/ann\tM\tm1:144\tauthuserdb\nodd\t1000\t1001\t/home/odd\t\t\tauthuserdb\n", ""},
		{"-config " + dir + " enumerate -o", 0,
			"ann\t1000\t1001\t/home/ann\tM\tmailhost=m1:144,d=1\tm1:144\tauthuserdb\n" +
				"odd\t1000\t1001\t/home/odd\t\td=1\t\tauthuserdb\n", ""},
		// A module that there is not: the first one still answers, logins that come to the other fail for the
		// time being.
		{"-config " + bad + " test ann secret", 0, strings.Replace(succeeded, ",d=1", "", 1),
			noModule + "logins that come to it fail for the time being\n"},
		{"-config " + bad + " test nobody", 111, "",
			"FAILED: temporary failure: authfoo: no such module, there are authldap, "},
		{"-config " + bad + " enumerate", 111,
			"ann\t1000\t1001\t/home/ann\tM\tm1:144\tauthuserdb\nodd\t1000\t1001\t/home/odd\t\t\tauthuserdb\n",
			"the list is not complete: authfoo"},
		{"-config " + broken + " test ann", 111, "", `authdaemonrc:1: daemons: "x" is not a number`},
		{"-config " + empty + " test ann", 111, "", "temporary failure: authuserdb: " + empty +
			"/userdb: no such file, nor what makeuserdb makes of it: no database"},
		{"-config " + empty + " test ann", 111, "", "/authdaemonrc is not there: every setting has its default"},
		{"frobnicate", 100, "", "wrong usage"},
		{"-nonsense", 100, "", "flag provided but not defined"},
		{"-nonsense", 100, "", " test [-s SERVICE] USER "},
		{"-once test x", 100, "", "wrong usage"},
	} {
		status, stdout, stderr := call(t, strings.Fields(test.args)...)
		if status != test.status || stdout != test.stdout || !strings.Contains(stderr, test.stderr) {
			t.Errorf("%s: %d\n%s%s\nwant %d\n%s%s", test.args, status, stdout, stderr, test.status, test.stdout,
				test.stderr)
		}
		if strings.Contains(stderr, "geheim") {
			t.Errorf("%s: the hash is in the log", test.args)
		}
	}
	if status, stdout, _ := call(t, "-config", dir, "test", "ann", "secret", "newer"); status != 0 ||
		stdout != "Password change succeeded.\n" {
		t.Errorf("change: %d %s", status, stdout)
	}
	if status, _, _ := call(t, "-config", dir, "test", "ann", "newer"); status != 0 {
		t.Error("the new password does not work")
	}
}

func TestOnce(t *testing.T) {
	dir := directory(t, map[string]string{"userdb": testUserdb})
	ask := func(request string) (status int, answer string) {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ours, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		theirs, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		stdin, err := theirs.(*net.UnixConn).File()
		if err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		_, _ = io.WriteString(ours, request)
		p := &program{getenv: func(string) string { return "" }, stdin: stdin, stdout: io.Discard,
			stderr: io.Discard, now: time.Now}
		status = p.run(context.Background(), []string{"-once", "-config", dir})
		stdin.Close()
		text, _ := io.ReadAll(ours)
		return status, string(text)
	}
	for request, want := range map[string]string{
		"AUTH 22\nimap\nlogin\nann\nsecret\n": "ADDRESS=ann\n",
		"AUTH 21\nimap\nlogin\nann\nwrong\n":  "FAIL\n",
		"PRE . imap ann\n":                    "ADDRESS=ann\n",
		"ENUMERATE\n":                         "# authuserdb\n\nann\t1000",
		"garbage\n":                           "",
	} {
		status, answer := ask(request)
		if !strings.Contains(answer, want) || (want == "") != (answer == "") || (status == 0) != (want != "") {
			t.Errorf("%q: %d %q", request, status, answer)
		}
	}
	stdin, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	p := &program{getenv: func(string) string { return "" }, stdin: stdin, stdout: io.Discard,
		stderr: io.Discard, now: time.Now}
	if status := p.run(context.Background(), []string{"-once"}); status != exitUsage {
		t.Errorf("standard input that is no socket: %d", status)
	}
}

// TestDebugLogin: steps with 1, passwords with 2 only.
// TestDebugNames: no name or service that a client says can look like another field.
func TestDebugNames(t *testing.T) {
	const name, service = "x, ip=[192.0.2.1]", "imap, module=a"
	a, log := fakeAsker(t, "DEBUG_LOGIN=1", &fake{name: "a"})
	for _, req := range []authlib.Request{
		&authlib.AuthRequest{Service: service, Type: authlib.AuthLogin, User: name, Password: "x"},
		&authlib.LookupRequest{Service: service, User: name, Module: "a, ip=[192.0.2.1]"},
		&authlib.PasswordRequest{Service: service, User: name, OldPassword: "x", NewPassword: "y"},
	} {
		if _, err := a.answer(t.Context(), req, nil); err != nil {
			t.Error(err)
		}
	}
	if text := log.String(); strings.Contains(text, "x, ip=[1") || strings.Contains(text, ", module=a,") ||
		strings.Contains(text, "a, ip=[1") || strings.Count(text, `x\054 ip=[192.0.2.1]`) != 3 {
		t.Errorf("log %s", text)
	}
}

func TestDebugLogin(t *testing.T) {
	for level, want := range []string{
		"",
		"DEBUG: received auth request, service=imap, authtype=login, user=a\\012nn, ip=[1.2.3.4]\n" +
			"DEBUG: a: trying this module\nDEBUG: a: REJECT - try next module\n" +
			"DEBUG: FAIL, all modules rejected\n",
		"DEBUG: received auth request, service=imap, authtype=login, user=a\\012nn, ip=[1.2.3.4]\n" +
			"DEBUG: received auth request, passwd=geheim\n" +
			"DEBUG: a: trying this module\nDEBUG: a: REJECT - try next module\nDEBUG: FAIL, all modules rejected\n",
	} {
		a, log := fakeAsker(t, "DEBUG_LOGIN="+string(rune('0'+level)), &fake{name: "a", users: []string{"ann"}})
		req := &authlib.AuthRequest{Service: "imap", Type: authlib.AuthLogin, User: "a\nnn", Password: "geheim",
			RemoteIP: "1.2.3.4"}
		if _, _, err := a.authenticate(context.Background(), req); err == nil {
			t.Error("no error")
		}
		if log.String() != want {
			t.Errorf("DEBUG_LOGIN=%d:\n%s", level, log)
		}
		account, _, err := a.authenticate(context.Background(),
			&authlib.AuthRequest{Service: "imap", Type: authlib.AuthLogin, User: "ann", Password: "ann"})
		if err != nil || account.Address != "ann" {
			t.Error(err)
		}
		const line = "DEBUG: Authenticated: sysusername=<null>, sysuserid=1, sysgroupid=1, homedir=/a, " +
			"address=ann, fullname=<null>, maildir=<null>, quota=<null>, options=own=1\n"
		if strings.Contains(log.String(), line) != (level > 0) ||
			strings.Contains(log.String(), "clearpasswd=ann") != (level > 1) {
			t.Errorf("DEBUG_LOGIN=%d:\n%s", level, log)
		}
	}
}

func TestFirstDirectory(t *testing.T) {
	dir := t.TempDir()
	for want, directories := range map[string][]string{
		dir: {"/nonexistent", dir, "/"}, "/nonexistent": {"/nonexistent", "/nonexistent2"}, "/": {"/", dir},
	} {
		if got := firstDirectory(directories); got != want {
			t.Errorf("firstDirectory(%q) = %s", directories, got)
		}
	}
}

func TestRootOnly(t *testing.T) {
	dir := directory(t, map[string]string{"authdaemonrc": "", "authmysqlrc": "", "userdb": "", "userdb.dat": ""})
	id := &identity.User{Name: "x", UID: 12345, GID: 12346, Groups: []uint32{12346, 12347}}
	set := func(name string, mode os.FileMode, uid, gid int) {
		t.Helper()
		if err := os.Chown(filepath.Join(dir, name), uid, gid); err != nil {
			t.Fatalf("these tests need root: %v", err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	set("authdaemonrc", 0o640, 0, 12347)
	set("authmysqlrc", 0o660, 0, 12346)
	set("userdb", 0o600, 0, 0)
	for modules, want := range map[string]string{
		"":                      "",
		"authmysql":             "",
		"authldap":              "",
		"authmysql authuserdb":  dir + "/userdb",
		"authuserdb authpgsqlx": dir + "/userdb",
	} {
		if got := rootOnly(id, dir, strings.Fields(modules)); got != want {
			t.Errorf("%q: %q", modules, got)
		}
	}
	set("userdb", 0o600, 12345, 0)
	if got := rootOnly(id, dir, []string{"authuserdb"}); got != "" {
		t.Errorf("own userdb: %q", got)
	}
	set("authdaemonrc", 0o600, 0, 0)
	if got := rootOnly(id, dir, nil); got != dir+"/authdaemonrc" {
		t.Errorf("authdaemonrc of root: %q", got)
	}
}
