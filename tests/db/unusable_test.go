package db

import (
	"fmt"
	"os"
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

// TestUnusable asks for such accounts in every database: a temporary failure with right and with wrong
// passwords, in every way of asking, and one line that says why.
func TestUnusable(t *testing.T) {
	const password = "clear secret"
	sql := "create table odd (id varchar(128), crypt varchar(255), clear varchar(128), uid varchar(40), gid varchar(40), home varchar(255));\n"
	text := ""
	for i, u := range unusable {
		fields := map[string]string{"uid": "5001", "gid": "5001", "home": "/h", "crypt": ""}
		fields[u.field] = u.value
		null := func(s string) string {
			if s == "" {
				return "NULL"
			}
			return sqlQuote(s, false)
		}
		name := fmt.Sprintf("odd%d@example.com", i)
		clear := ", NULL, " // a hash decides alone in SQL, the clear password in LDAP
		if fields["crypt"] == "" {
			clear = ", " + sqlQuote(password, false) + ", "
		}
		sql += "insert into odd values (" + sqlQuote(name, false) + ", " + null(fields["crypt"]) + clear +
			null(fields["uid"]) + ", " + null(fields["gid"]) + ", " + null(fields["home"]) + ");\n"
		text += fmt.Sprintf(
			"dn: uid=odd%d,ou=people,dc=example,dc=com\nobjectClass: account\nobjectClass: mailAccount\nuid: odd%d\nmail: %s\n",
			i,
			i,
			name,
		)
		for _, field := range [][2]string{{"handle", "uid"}, {"disableimap", "gid"}, {"homeDirectory", "home"}, {"userPassword", "crypt"}} {
			if v := fields[field[1]]; v != "" {
				text += field[0] + ": " + v + "\n"
			}
		}
		if fields["crypt"] == "" {
			text += "clearPassword: " + password + "\n"
		}
		text += "\n"
	}
	sql += "insert into odd values ('twin', NULL, 'a', '7', '7', '/a');\ninsert into odd values ('twin', NULL, 'b', '7', '7', '/b');\n" +
		"insert into odd values ('same', NULL, 'a', '7', '7', '/a');\ninsert into odd values ('same', NULL, 'a', '7', '7', '/a');\n"
	text += "dn: uid=comma,ou=people,dc=example,dc=com\nobjectClass: account\nobjectClass: mailAccount\nuid: comma\nmail: comma@example.com\n" +
		"handle: 7\ndisableimap: 7\nhomeDirectory: /h\nclearPassword: " + password + "\nmailhost: x,mailhost=evil\n\n"
	pg, my := harness.Postgres(t, "127.0.15.1"), harness.MariaDB(t, "127.0.15.2")
	pg.SQL(t, sql)
	my.SQL(t, sql)
	dir := directory(t, "127.0.15.3", nil, harness.LDAPOptions{LDIF: text})
	list := []database{
		{
			"authpgsql", pg, pgsqlSettings(pg).with(plainTable("PGSQL_")), nil,
		}, {"authmysql", my, mysqlSettings(my).with(plainTable("MYSQL_")), nil},
		{"authldap", dir, ldapSettings(dir).with(settings{"LDAP_UID": "handle", "LDAP_GID": "disableimap"}), nil},
	}
	for _, d := range list {
		t.Run(d.module, func(t *testing.T) {
			c, p, folder := d.start(t, d.base)
			askUnusable(t, c, p, d.module, folder, password)
			if d.module == "authldap" {
				want(t, c, question{"login", "imap", "comma@example.com", password}, "temporary failure")
				p.Log.WaitN(
					t,
					1,
					`"comma@example.com" cannot be used: mailhost="x,mailhost=evil": .* comma: blanks or semicolons separate mailhosts$`,
				)
			} else {
				want(t, c, question{"login", "imap", "twin", "a"}, "temporary failure")
				p.Log.WaitN(t, 1, `account "twin" cannot be used: more than one row of that name`)
				want(t, c, question{"login", "imap", "same", "a"}, `home="/a"`)
			}
			if lines := p.Log.Find(`cannot answer|geheim|` + password); len(lines) != 0 {
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
func askUnusable(t *testing.T, c *authlib.Client, p *harness.Process, module, folder, password string) {
	t.Helper()
	for i, u := range unusable {
		name := fmt.Sprintf("odd%d@example.com", i)
		answer, said := "temporary failure", `cannot be used: `+strings.TrimSuffix(u.line, "$")
		if u.line == locked {
			answer, said = "refused", "no such account, or wrong password"
		}
		want(t, c, question{"login", "imap", name, password}, answer)
		want(t, c, question{"login", "imap", name, "wrong"}, answer)
		if u.field != "crypt" { // those have no clear password, and PRE asks for none
			want(t, c, question{"pre", "imap", name, ""}, answer)
			want(t, c, question{"cram-md5", "imap", name, password}, answer)
		}
		if got := change(t, c, name, password, "new"); got != answer {
			t.Errorf("%s: change of password: %s", name, got)
		}
		line := `WARN: ` + module + `: account "` + regexp.QuoteMeta(name) + `" cannot be used: ` + u.line
		if u.line != locked {
			p.Log.WaitN(t, 1, line)
		} else if lines := p.Log.Find(name); len(lines) > 0 {
			t.Errorf("%s is locked; log %q", name, lines)
		}
		cmd := exec.Command(harness.PlainBin(t, "authdaemond"), "-config", folder, "test", name, password)
		out, err := cmd.CombinedOutput()
		if err == nil || !regexp.MustCompile(`FAILED: .*`+said).Match(out) {
			t.Errorf("authdaemond test %s: %v: %s, want %s", name, err, out, said)
		}
	}
}

// TestUnusableUserdb asks for the same accounts in a userdb.
func TestUnusableUserdb(t *testing.T) {
	const password = "clear secret"
	text := "blanks@example.com uid=7|gid=7|home=/h|systempw={PLAIN}" + password + "\n" +
		"twin@example.com\tuid=7|gid=7|home=/first|systempw={PLAIN}" + password + "\n" +
		"twin@example.com\tuid=7|gid=7|home=/second|systempw={PLAIN}" + password + "\n"
	for i, u := range unusable {
		fields := map[string]string{"uid": "5001", "gid": "5001", "home": "/h", "crypt": "{PLAIN}" + password}
		fields[u.field] = u.value
		line := fmt.Sprintf("odd%d@example.com\tsystempw=%s", i, fields["crypt"])
		for _, name := range []string{"uid", "gid", "home"} {
			if fields[name] != "" {
				line += "|" + name + "=" + fields[name]
			}
		}
		text += line + "\n"
	}
	folder := harness.Dir(t)
	if err := os.WriteFile(filepath.Join(folder, "userdb"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := ourDaemon(t, folder, "authuserdb", nil)
	c := &authlib.Client{Socket: filepath.Join(folder, "socket")}
	askUnusable(t, c, p, "authuserdb", folder, password)
	want(t, c, question{"login", "imap", "blanks@example.com", password}, "temporary failure")
	p.Log.WaitN(t, 1, `WARN: .*"blanks@example.com" cannot be used: a blank, not a TAB, behind the name in `)
	if got := change(t, c, "blanks@example.com", password, "new"); got != "temporary failure" {
		t.Errorf("blanks: change of password: %s", got)
	}
	// As makeuserdb has it.
	want(t, c, question{"login", "imap", "twin@example.com", password}, `home="/first"`)
}

// plainTable are the settings for a table without optional columns.
func plainTable(prefix string) settings {
	return settings{
		prefix + "USER_TABLE": "odd", prefix + "NAME_FIELD": "", prefix + "MAILDIR_FIELD": "",
		prefix + "QUOTA_FIELD": "", prefix + "AUXOPTIONS_FIELD": "",
	}
}
