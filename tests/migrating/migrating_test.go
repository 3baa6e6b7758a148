// Package migrating runs the commands of docs/migrating.md as they stand there, and asks authdaemond for the
// accounts that they make.
package migrating

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mailproxy/authlib/password"
)

// popmap is one of Perdition's.
const popmap = "# a comment\n\nann:mail1.example\nbob:robert@mail2.example:1143\ncarl:mail3.example\n" +
	"dora:mail4.example\n"

// command returns the code block of docs/migrating.md that is marked "sh NAME".
func command(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```sh " + name + "\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatalf("no block %q", name)
	}
	return string(block[1])
}

func hash(t *testing.T, like, clear string) string {
	t.Helper()
	h, err := password.Hash(like, clear)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// build returns the path of authdaemond.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "authdaemond")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", path, "mailproxy/authlib/authdaemond").
		CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

func TestCommands(t *testing.T) {
	authdaemond := build(t)
	crypt, sha := hash(t, "$6$", "sec ret"), hash(t, "{SSHA}", "sec ret")
	for _, c := range []struct {
		name     string
		files    map[string]string
		accounts map[string]string // name to mailhost, all with the password "sec ret"
		left     []string          // what is said about the others
	}{
		{"perdition", map[string]string{
			"popmap": popmap,
			"hashes": "ann:" + crypt + ":19000:0:99999:7:::\nbob:" + crypt + "\ncarl:!:19000::::::\nzoe:" + crypt +
				"\n",
		}, map[string]string{"ann": "mail1.example", "bob": "mail2.example:1143"},
			[]string{"carl: no password", "dora: no password"}},
		{"dovecot", map[string]string{
			"passwd": "# a comment\n" +
				"ann@example.com:{SHA512-CRYPT}" + crypt + "::::::proxy=y host=mail1.example\n" +
				"bob:" + crypt + "::::::proxy=y host=mail2.example port=1143\n" +
				"carl:" + sha + ":1000:1000::/home/carl::proxy_maybe=y\thost=mail3.example nopassword=n\n" +
				"dora:{PLAIN}sec ret::::::host=mail4.example\n" +
				"eve:{SCRAM-SHA-256}4096,x==,y=,z=::::::host=mail4.example\n" +
				"frank:" + sha + "::::::\n",
		}, map[string]string{
			"ann@example.com": "mail1.example", "bob": "mail2.example:1143", "carl": "mail3.example",
		},
			[]string{"dora: a password that userdb cannot hold", "eve: a password that userdb cannot hold",
				"frank: no host"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var said strings.Builder
			sh := exec.Command("sh", "-eu", "-c", command(t, c.name))
			sh.Dir, sh.Stderr = dir, &said
			if err := sh.Run(); err != nil {
				t.Fatalf("%v\n%s", err, said.String())
			}
			if want := strings.Join(c.left, "\n") + "\n"; said.String() != want {
				t.Errorf("said %q, want %q", said.String(), want)
			}
			for name, mailhost := range c.accounts {
				out, err := exec.Command(authdaemond, "-config", dir, "-user", "", "test", name, "sec ret").
					CombinedOutput()
				if err != nil || !strings.Contains(string(out), "Mailhost: "+mailhost+"\n") {
					t.Errorf("%s: %v\n%s", name, err, out)
				}
				if out, err := exec.Command(authdaemond, "-config", dir, "-user", "", "test", name,
					"wrong").CombinedOutput(); err == nil {
					t.Errorf("%s with a wrong password:\n%s", name, out)
				}
			}
			userdb, err := os.ReadFile(filepath.Join(dir, "userdb"))
			if err != nil {
				t.Fatal(err)
			}
			if c.name == "perdition" && !strings.Contains(string(userdb), "mailhostuser=robert\n") {
				t.Errorf("bob's other name is not there:\n%s", userdb)
			}
			if n := strings.Count(string(userdb), "\n"); n != len(c.accounts) {
				t.Errorf("%d accounts:\n%s", n, userdb)
			}
		})
	}
}

// TestMapAlone makes accounts of a popmap without passwords, for mailhosts that verify them: they are found,
// and no password is right for them here.
func TestMapAlone(t *testing.T) {
	daemon, dir := build(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "popmap"), []byte(popmap), 0o600); err != nil {
		t.Fatal(err)
	}
	sh := exec.Command("sh", "-eu", "-c", command(t, "perdition-mailhost"))
	sh.Dir = dir
	if out, err := sh.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v\n%s", err, out)
	}
	test := func(words ...string) (string, error) {
		out, err := exec.Command(daemon, append([]string{"-config", dir, "-user", "", "test"}, words...)...).
			CombinedOutput()
		return string(out), err
	}
	for name, options := range map[string]string{"ann": "mailhost=mail1.example",
		"bob": "mailhost=mail2.example:1143,mailhostuser=robert", "dora": "mailhost=mail4.example"} {
		if out, err := test(name); err != nil || !strings.Contains(out, "Options: "+options+"\n") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		for _, password := range []string{"", "x"} {
			if out, err := test(name, password); err == nil {
				t.Errorf("%s with the password %q:\n%s", name, password, out)
			}
		}
	}
}
