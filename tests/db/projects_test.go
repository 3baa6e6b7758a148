package db

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// TestProjects reads the tables of other projects, as they are, with the files of etc/examples.
func TestProjects(t *testing.T) {
	t.Parallel()
	for i, test := range []struct {
		project, module string
		// where the accounts are, and what may be switched off for bert.
		anna, bert string
		// locked is what an administrator of the project does to lock bert out.
		locked string
	}{
		{"postfixadmin", "authmysql", `uid=5000 gid=5000 home="/var/vmail" address="anna@example.com" ` +
			`name="Anna" maildir="example.com/anna/" quota="10240000S"`, `options=""`,
			"UPDATE mailbox SET active=0 WHERE local_part='bert'"},
		{"postfixadmin", "authpgsql", `uid=5000 gid=5000 home="/var/vmail" address="anna@example.com" ` +
			`name="Anna" maildir="example.com/anna/" quota="10240000S"`, `options=""`,
			"UPDATE domain SET active=false"},
		{"iredmail", "authmysql", `uid=2000 gid=2000 home="/var/vmail/vmail1/example.com/a/n/n/anna-2026/" ` +
			`address="anna@example.com" name="Anna" maildir="Maildir" quota="1073741824S"`,
			`options="disableinsecurepop3=1"`, "UPDATE mailbox SET expired='2001-01-01' WHERE username LIKE 'bert@%'"},
		{"iredmail", "authpgsql", `uid=2000 gid=2000 home="/var/vmail/vmail1/example.com/a/n/n/anna-2026/" ` +
			`address="anna@example.com" name="Anna" maildir="Maildir" quota="1073741824S"`,
			`options="disableinsecurepop3=1"`, "UPDATE mailbox SET active=0 WHERE username LIKE 'bert@%'"},
		{"mailcow", "authmysql", `uid=5000 gid=5000 home="/var/vmail/example.com/anna" ` +
			`address="anna@example.com" name="Anna" maildir="Maildir" quota="10240000S"`,
			`options="disablepop3=1"`, "UPDATE mailbox SET active=2 WHERE local_part='bert'"},
	} {
		t.Run(test.project+" "+test.module, func(t *testing.T) {
			addr := "127.0.17." + string(rune('1'+i))
			name := "examples/" + test.project + "/"
			var db *harness.Database
			var file string
			if test.module == "authmysql" {
				db = harness.MariaDB(t, addr)
				db.SQL(t, sample(t, name+"mysql.sql"))
				file = sample(t, name+"authmysqlrc", "MYSQL_SERVER		localhost", "MYSQL_SERVER "+addr,
					"MYSQL_USERNAME		mailproxy", "MYSQL_USERNAME mail", "change-me", "my'secret")
				file = replaceLine(file, "MYSQL_DATABASE", "mail")
			} else {
				db = harness.Postgres(t, addr)
				db.SQL(t, sample(t, name+"pgsql.sql"))
				file = replaceLine(sample(t, name+"authpgsqlrc"), "PGSQL_CONNECTION",
					`host=`+addr+` user=postgres dbname=mail password='pg\'secret'`)
			}
			directory := harness.Dir(t)
			harness.WriteFile(t, filepath.Join(directory, test.module+"rc"), file, 0o600)
			p := ourDaemon(t, directory, test.module, nil)
			c := &authlib.Client{Socket: filepath.Join(directory, "socket")}
			anna := question{"login", "imap", "anna@example.com", "secret"}
			bert := question{"login", "imap", "Bert@example.com", "secret"}
			want(t, c, anna, test.anna)
			if test.module == "authpgsql" {
				bert.user = "bert@example.com" // PostgreSQL compares letters as they are
			}
			want(t, c, bert, test.bert)
			want(t, c, question{"login", "imap", "anna@example.com", "wrong"}, "refused")
			want(t, c, question{"login", "imap", "nobody@example.com", "secret"}, "refused")
			if n, err := count(t, c); n != 2 || err != nil {
				t.Errorf("%d accounts, %v", n, err)
			}
			db.SQL(t, test.locked)
			want(t, c, bert, "refused")
			if lines := p.Log.Find(`(WARN|ERR): `); len(lines) > 0 {
				t.Errorf("log %q", lines)
			}
		})
	}
}

// replaceLine gives a setting of an auth*rc file another value.
func replaceLine(text, name, value string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, name) {
			line = name + " " + value + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// TestPasswdFile makes a userdb of a passwd-file, which Dovecot reads as well.
func TestPasswdFile(t *testing.T) {
	t.Parallel()
	examples := filepath.Join(harness.Root(t), "etc/examples/dovecot")
	cmd := exec.Command("awk", "-v", "uid=5001", "-v", "gid=5001", "-v", "home=/srv/mail", "-f",
		filepath.Join(examples, "passwd-file.awk"), filepath.Join(examples, "users"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	directory := harness.Dir(t)
	harness.WriteFile(t, filepath.Join(directory, "userdb"), out, 0o600)
	ourDaemon(t, directory, "authuserdb", nil)
	c := &authlib.Client{Socket: filepath.Join(directory, "socket")}
	for user, part := range map[string]string{
		"anna@example.com": `uid=5000 gid=5000 home="/srv/mail/anna" address="anna@example.com"`,
		"bert@example.com": `uid=5001 gid=5001 home="/srv/mail/bert@example.com" address="bert@example.com"`,
		"carl@example.com": "refused",
	} {
		want(t, c, question{"login", "imap", user, "secret"}, part)
		want(t, c, question{"login", "imap", user, "wrong"}, "refused")
	}
	want(t, c, question{"pre", "imap", "anna@example.com", ""}, `options="mailhost=mail1.example.com:1143"`)
	// Dovecot takes the same passwords from the same file; "nologin" only counts where somebody logs in.
	dovecot := harness.Dovecot(t, harness.DovecotOptions{Addr: "127.0.17.9"})
	users := []byte(sample(t, "examples/dovecot/users"))
	harness.WriteFile(t, filepath.Join(dovecot.Dir, "users"), users, 0o644)
	config := filepath.Join(dovecot.Dir, "dovecot.conf")
	for _, user := range []string{"anna@example.com", "bert@example.com"} {
		out, err := exec.Command("doveadm", "-c", config, "auth", "test", user, "secret").CombinedOutput()
		if err != nil {
			t.Errorf("Dovecot: %s: %v: %s", user, err, out)
		}
		out, err = exec.Command("doveadm", "-c", config, "auth", "test", user, "wrong").CombinedOutput()
		if err == nil {
			t.Errorf("Dovecot takes a wrong password: %s: %s", user, out)
		}
	}
}
