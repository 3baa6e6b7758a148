package db

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// unusable are accounts that nobody can log in to as they are, by what is wrong with them.
var unusable = []struct{ field, value, line string }{
	{"uid", "0", `(uid|handle)="0": not a decimal number`},
	{"gid", "0", `(gid|disableimap)="0": not a decimal number`},
	{"uid", "4294967295", `(uid|handle)="4294967295": not a decimal number`},
	{"gid", "4294967295", `(gid|disableimap)="4294967295": not a decimal number`},
	{"uid", "5001x", `(uid|handle)="5001x": not a decimal number`},
	{"uid", "+5", `(uid|handle)="\+5": not a decimal number`},
	{"uid", "5.0", `(uid|handle)="5.0": not a decimal number`},
	{"gid", "-1", `(gid|disableimap)="-1": not a decimal number`},
	{"uid", "18446744073709556616", `(uid|handle)="18446744073709556616": not a decimal number`},
	{"uid", "", `no (uid|handle)`},
	{"gid", "", `no (gid|disableimap)`},
	{"home", "", `no home(Directory)?`},
	{"crypt", "{ROT13}geheim", `unknown password scheme {ROT13}$`},
	{"crypt", "{SHA}geheim", `damaged password hash of scheme {SHA}$`},
	// Locked by the administrator: an ordinary refusal, without a line.
	{"crypt", "!", locked}, {"crypt", "*", locked}, {"crypt", "!{SHA}geheim", locked},
	{"crypt", "{SHA}!geheim", locked},
}

const locked = "locked"

// oddPassword is the password of every account of the table that has a clear one.
const oddPassword = "clear secret"

// oddName returns the name of the i-th account of unusable.
func oddName(i int) string { return fmt.Sprintf("odd%d@example.com", i) }

// oddDatabases starts the databases with a server, holding these accounts, on addresses of net ("127.0.15"):
// a table "odd" or entries below ou=people. The account fine@example.com can be used.
func oddDatabases(t *testing.T, net string) []database {
	t.Helper()
	sql := "create table odd (id varchar(128), crypt varchar(255), clear varchar(128), uid varchar(40), " +
		"gid varchar(40), home varchar(255));\n"
	text := ""
	add := func(name string, fields map[string]string) {
		null := func(s string) string {
			if s == "" {
				return "NULL"
			}
			return sqlQuote(s, false)
		}
		clear := ", NULL, " // a hash decides alone in SQL, the clear password in LDAP
		if fields["crypt"] == "" {
			clear = ", " + sqlQuote(oddPassword, false) + ", "
		}
		sql += "insert into odd values (" + sqlQuote(name, false) + ", " + null(fields["crypt"]) + clear +
			null(fields["uid"]) + ", " + null(fields["gid"]) + ", " + null(fields["home"]) + ");\n"
		text += mailEntry(strings.TrimSuffix(name, "@example.com"), name)
		for _, field := range [][2]string{
			{"handle", "uid"}, {"disableimap", "gid"}, {"homeDirectory", "home"}, {"userPassword", "crypt"},
		} {
			if v := fields[field[1]]; v != "" {
				text += field[0] + ": " + v + "\n"
			}
		}
		if fields["crypt"] == "" {
			text += "clearPassword: " + oddPassword + "\n"
		}
		text += "\n"
	}
	for i, u := range unusable {
		fields := map[string]string{"uid": "5001", "gid": "5001", "home": "/h"}
		fields[u.field] = u.value
		add(oddName(i), fields)
	}
	add("fine@example.com", map[string]string{"uid": "7", "gid": "7", "home": "/h"})
	const usable = "handle: 7\ndisableimap: 7\nhomeDirectory: /h\nclearPassword: " + oddPassword + "\n"
	for _, row := range []string{"'twin', NULL, 'a', '7', '7', '/a'", "'twin', NULL, 'b', '7', '7', '/b'",
		"'same', NULL, 'a', '7', '7', '/a'", "'same', NULL, 'a', '7', '7', '/a'"} {
		sql += "insert into odd values (" + row + ");\n"
	}
	text += mailEntry("comma", "comma@example.com") + usable + "mailhost: x,mailhost=evil\n\n" +
		mailEntry("twin1", "twin@example.com") + usable + "\n" +
		mailEntry("twin2", "twin@example.com") + usable + "\n"
	pg, my := harness.Postgres(t, net+".1"), harness.MariaDB(t, net+".2")
	pg.SQL(t, sql)
	my.SQL(t, sql)
	dir := directory(t, net+".3", nil, harness.LDAPOptions{LDIF: text})
	return []database{
		{"authpgsql", pg, pgsqlSettings(pg).with(plainTable("PGSQL_")), nil},
		{"authmysql", my, mysqlSettings(my).with(plainTable("MYSQL_")), nil},
		{"authldap", dir, ldapSettings(dir).with(settings{"LDAP_UID": "handle", "LDAP_GID": "disableimap"}), nil},
	}
}

// mailEntry returns the beginning of an entry.
func mailEntry(uid, mail string) string {
	return "dn: uid=" + uid + ",ou=people,dc=example,dc=com\nobjectClass: account\nobjectClass: mailAccount\n" +
		"uid: " + uid + "\nmail: " + mail + "\n"
}

// TestUnusable asks for such accounts in every database: a temporary failure with right and with wrong
// passwords, in every way of asking, and one line that says why.
func TestUnusable(t *testing.T) {
	t.Parallel()
	for _, d := range oddDatabases(t, "127.0.15") {
		t.Run(d.module, func(t *testing.T) {
			c, p, directory := d.start(t, d.base)
			askUnusable(t, c, p, d.module, directory)
			if d.module == "authldap" {
				want(t, c, question{"login", "imap", "comma@example.com", oddPassword}, "temporary failure")
				p.Log.WaitN(t, 1, `"comma@example.com" cannot be used: mailhost="x,mailhost=evil": .* comma: `+
					`blanks or semicolons separate mailhosts$`)
				want(t, c, question{"login", "imap", "twin@example.com", oddPassword}, "temporary failure")
				p.Log.WaitN(t, 1, `account "twin@example.com" cannot be used: more than one entry with mail=`)
			} else {
				want(t, c, question{"login", "imap", "twin", "a"}, "temporary failure")
				p.Log.WaitN(t, 1, `account "twin" cannot be used: more than one row of that name`)
				want(t, c, question{"login", "imap", "same", "a"}, `home="/a"`)
			}
			if lines := p.Log.Find(`cannot answer|geheim|` + oddPassword); len(lines) != 0 {
				t.Errorf("log %q", lines)
			}
			err := c.Enumerate(t.Context(), func(a *authlib.Account) error {
				if a.UID == nil || a.GID == nil || *a.UID == 0 || *a.GID == 0 || *a.UID == 1<<32-1 || *a.GID == 1<<32-1 {
					t.Errorf("listed: %+v", a)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// askUnusable asks for the accounts that cannot be used, and has authdaemond test show them.
func askUnusable(t *testing.T, c *authlib.Client, p *harness.Process, module, directory string) {
	t.Helper()
	for i, u := range unusable {
		name := oddName(i)
		answer, said := "temporary failure", `cannot be used: `+strings.TrimSuffix(u.line, "$")
		if u.line == locked {
			answer, said = "refused", "no such account, or wrong password"
		}
		want(t, c, question{"login", "imap", name, oddPassword}, answer)
		want(t, c, question{"login", "imap", name, "wrong"}, answer)
		if u.field != "crypt" { // those have no clear password, and PRE asks for none
			want(t, c, question{"pre", "imap", name, ""}, answer)
			want(t, c, question{"cram-md5", "imap", name, oddPassword}, answer)
		}
		if got := change(t, c, name, oddPassword, "new"); got != answer {
			t.Errorf("%s: change of password: %s", name, got)
		}
		line := `WARN: ` + module + `: account "` + regexp.QuoteMeta(name) + `" cannot be used: ` + u.line
		if u.line != locked {
			p.Log.WaitN(t, 1, line)
		} else if lines := p.Log.Find(name); len(lines) > 0 {
			t.Errorf("%s is locked; log %q", name, lines)
		}
		cmd := exec.Command(harness.PlainBin(t, "authdaemond"), "-config", directory, "test", name, oddPassword)
		out, err := cmd.CombinedOutput()
		if err == nil || !regexp.MustCompile(`FAILED: .*`+said).Match(out) {
			t.Errorf("authdaemond test %s: %v: %s, want %s", name, err, out, said)
		}
	}
}

// oddUserdb starts our daemon with the same accounts in a userdb.
func oddUserdb(t *testing.T) (c *authlib.Client, p *harness.Process, directory string) {
	t.Helper()
	const usable = "uid=7|gid=7|systempw={PLAIN}" + oddPassword + "|home="
	text := "blanks@example.com " + usable + "/h\nfine@example.com\t" + usable + "/h\n" +
		"twin@example.com\t" + usable + "/first\ntwin@example.com\t" + usable + "/second\n"
	for i, u := range unusable {
		fields := map[string]string{"uid": "5001", "gid": "5001", "home": "/h", "crypt": "{PLAIN}" + oddPassword}
		fields[u.field] = u.value
		line := oddName(i) + "\tsystempw=" + fields["crypt"]
		for _, name := range []string{"uid", "gid", "home"} {
			if fields[name] != "" {
				line += "|" + name + "=" + fields[name]
			}
		}
		text += line + "\n"
	}
	directory = harness.Dir(t)
	harness.WriteFile(t, filepath.Join(directory, "userdb"), text, 0o600)
	p = ourDaemon(t, directory, "authuserdb", nil)
	return &authlib.Client{Socket: filepath.Join(directory, "socket")}, p, directory
}

// TestUnusableUserdb asks for the same accounts in a userdb.
func TestUnusableUserdb(t *testing.T) {
	t.Parallel()
	c, p, directory := oddUserdb(t)
	askUnusable(t, c, p, "authuserdb", directory)
	want(t, c, question{"login", "imap", "blanks@example.com", oddPassword}, "temporary failure")
	p.Log.WaitN(t, 1, `WARN: .*"blanks@example.com" cannot be used: a space instead of a TAB after the name `)
	if got := change(t, c, "blanks@example.com", oddPassword, "new"); got != "temporary failure" {
		t.Errorf("blanks: change of password: %s", got)
	}
	// As makeuserdb has it.
	want(t, c, question{"login", "imap", "twin@example.com", oddPassword}, `home="/first"`)
}

// plainTable are the settings for a table without optional columns.
func plainTable(prefix string) settings {
	return settings{
		prefix + "USER_TABLE": "odd", prefix + "NAME_FIELD": "", prefix + "MAILDIR_FIELD": "",
		prefix + "QUOTA_FIELD": "", prefix + "AUXOPTIONS_FIELD": "",
	}
}
