package db

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// want asks and compares: "refused", "temporary failure", or a part of the account.
func want(t *testing.T, c *authlib.Client, q question, part string) {
	t.Helper()
	if got := ask(c, q); got != part && !(strings.Contains(part, "=") && strings.Contains(got, part)) {
		t.Errorf("%s: %s, want %s", q, got, part)
	}
}

// count enumerates.
func count(t *testing.T, c *authlib.Client) (n int, err error) {
	t.Helper()
	err = c.Enumerate(t.Context(), func(*authlib.Account) error { n++; return nil })
	return n, err
}

// TestSettingsFile follows a file through its mistakes: requests fail temporarily until it has been good
// once, and then the last good state counts; each change has one line in the log.
func TestSettingsFile(t *testing.T) {
	t.Parallel()
	for _, d := range databases(t, "127.0.21") {
		t.Run(d.module, func(t *testing.T) {
			directory := harness.Dir(t)
			path := filepath.Join(directory, d.module+"rc")
			p := ourDaemon(t, directory, d.module, nil)
			c := &authlib.Client{Socket: filepath.Join(directory, "socket")}
			want(t, c, login, "temporary failure")
			want(t, c, login, "temporary failure")
			p.Log.WaitN(t, 1, d.module+`: .*no such file`)
			d.base.write(t, path)
			want(t, c, login, "address=")
			text := d.base.text()
			put := func(text string, mode os.FileMode) {
				old, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
					t.Fatal(err)
				}
				stamp := old.ModTime().Add(1e9)
				if err := os.Chtimes(path, stamp, stamp); err != nil {
					t.Fatal(err)
				}
				settle()
			}
			for _, broken := range []struct{ text, line string }{
				{"", `MARKER.*stay in force`}, {text[:len(text)/2], `MARKER.*stay in force`}, {"##NAME: MARKER:\n",
					`(is not set|must be set).*stay in force`},
			} {
				put(broken.text, 0o600)
				for range 3 {
					want(t, c, login, "address=")
				}
				p.Log.Wait(t, broken.line)
			}
			put(text, 0o644)
			want(t, c, login, "address=")
			p.Log.WaitN(t, 1, `everybody may read this file`)
			put(strings.ReplaceAll(text, "\n", "\r\n"), 0o640)
			want(t, c, login, "address=")
			p.Log.WaitN(t, 4, `stay in force`)
		})
	}
}

// TestMistakesAreTemporary checks that a query that does not work is nobody's wrong password, in any way of
// asking.
func TestMistakesAreTemporary(t *testing.T) {
	t.Parallel()
	for _, d := range databases(t, "127.0.12") {
		mistakes := map[string]settings{
			"authpgsql": {
				"PGSQL_SELECT_CLAUSE": "SELECT nonsense FROM nowhere", "PGSQL_ENUMERATE_CLAUSE": "SELECT nonsense",
			},
			"authmysql": {"MYSQL_USER_TABLE": "nowhere"}, "authldap": {"LDAP_BINDPW": "wrong"},
		}
		c, p, directory := d.start(t, d.base.with(mistakes[d.module]))
		for _, q := range []question{login, {"pre", "imap", "bench@example.com", ""},
			{"cram-sha256", "pop3", "both@example.com", "other"}} {
			want(t, c, q, "temporary failure")
		}
		if n, err := count(t, c); err == nil || n != 0 {
			t.Errorf("%s: the list looks complete: %d accounts, %v", d.module, n, err)
		}
		if got := change(t, c, "bench@example.com", "both secret", "x"); got != "temporary failure" {
			t.Errorf("%s: change of password: %s", d.module, got)
		}
		// One line for each mistake.
		mistaken := map[string]int{"authpgsql": 2}
		lines := p.Log.WaitN(t, max(mistaken[d.module], 1), "cannot answer")
		if strings.Contains(strings.Join(lines, "\n"), "secret") {
			t.Errorf("%s: log %q", d.module, lines)
		}
		reload(t, d.base, filepath.Join(directory, d.module+"rc"))
		want(t, c, login, "address=")
		if n, err := count(t, c); err != nil || n < 20 {
			t.Errorf("%s: %d accounts, %v", d.module, n, err)
		}
		d.server.Kill(t)
		if n, err := count(t, c); err == nil {
			t.Errorf("%s: with a dead server the list looks complete: %d accounts", d.module, n)
		}
	}
}

// TestConnectionsEndedByServer logs in after the administrator ended the connections, or changed the table
// under them.
func TestConnectionsEndedByServer(t *testing.T) {
	t.Parallel()
	list := databases(t, "127.0.13")
	pg, my := list[0], list[1]
	c, _, _ := pg.start(t, pg.base)
	for _, sql := range []string{
		"select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname='mail'",
		"alter table passwd add column more text; alter table passwd alter column maildir type text",
		"alter table passwd drop column more",
	} {
		want(t, c, login, "address=")
		pg.server.SQL(t, sql)
		want(t, c, login, "address=")
	}
	// MYSQL_PORT and MYSQL_OPT are optional here, and the other spelling of AUXOPTIONS_FIELD counts.
	c, _, directory := my.start(
		t,
		my.base.with(
			settings{
				"MYSQL_PORT": "", "MYSQL_OPT": "", "MYSQL_AUXOPTIONS_FIELD": "",
				"MYSQL_AUXOPTIONS": "CONCAT('a=',uid)",
			},
		),
	)
	for _, sql := range []string{"select concat('kill ', id, ';') from information_schema.processlist where " +
		"user='mail'", "alter table passwd add column more text"} {
		want(t, c, login, `options="a=10`)
		if kills := my.server.SQL(t, sql); kills != "" {
			my.server.SQL(t, kills)
		}
		want(t, c, login, `options="a=10`)
	}
	my.server.SQL(
		t,
		"create procedure who(l varchar(100), d varchar(100)) select id, crypt, clear, uid, gid, home from "+
			"passwd where id = concat(l, '@', d)",
	)
	for _, changes := range []settings{
		{"MYSQL_SELECT_CLAUSE": "CALL who('$(local_part)', '$(domain)')"}, {"MYSQL_OPT": "32"}, {"MYSQL_SERVER": "",
			"MYSQL_SOCKET": my.server.Dir + "/s"},
	} {
		reload(t, my.base.with(changes), filepath.Join(directory, "authmysqlrc"))
		want(t, c, login, "address=")
		want(t, c, login, "address=")
	}
	pgAux := pg.base.with(settings{"PGSQL_AUXOPTIONS_FIELD": "", "PGSQL_AUXOPTIONS": "'a=' || uid"})
	c, _, _ = pg.start(t, pgAux)
	want(t, c, login, `options="a=10`)
}

// TestDirectory checks what is LDAP's alone.
func TestDirectory(t *testing.T) {
	t.Parallel()
	const many = 1200
	more := emailmap
	for i := range many {
		more += fmt.Sprintf(`dn: uid=many%[1]d,ou=people,dc=example,dc=com
objectClass: account
objectClass: mailAccount
uid: many%[1]d
mail: many%[1]d@example.com
mail: alias%[1]d@example.com
uidNumber: 7
gidNumber: 7
homeDirectory: /h

`, i)
	}
	for _, twin := range []string{"a", "b"} {
		more += fmt.Sprintf(`dn: uid=twin%[1]s,ou=people,dc=example,dc=com
objectClass: account
objectClass: mailAccount
uid: twin%[1]s
mail: twin@example.com
uidNumber: 7
gidNumber: 7
homeDirectory: /h
clearPassword: %[1]s

`, twin)
	}
	more += `dn: cn=reader,dc=example,dc=com
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: read

`
	// The server gives anybody but its administrator 500 entries at most, unless they come in pages.
	dir := directory(
		t,
		"127.0.14.1",
		accounts(t),
		harness.LDAPOptions{
			LDIF: more,
			Config: "sizelimit size.soft=500 size.hard=500 size.pr=500 size.prtotal=unlimited\n" +
				"access to * by * read",
		},
	)
	d := database{"authldap", dir, ldapSettings(dir), nil}
	c, p, directory := d.start(t,
		d.base.with(settings{"LDAP_BINDDN": "cn=reader,dc=example,dc=com", "LDAP_BINDPW": "read"}))
	want(t, c, question{"login", "imap", "twin@example.com", "a"}, "temporary failure")
	want(t, c, question{"pre", "imap", "twin@example.com", ""}, "temporary failure")
	p.Log.WaitN(t, 1, `WARN: authldap: account "twin@example.com" cannot be used: `+
		`more than one entry with mail="twin@example.com"`)
	if n, err := count(t, c); err != nil || n < 2*many {
		t.Errorf("%d accounts, %v; want both names of %d", n, err, many)
	}
	file := filepath.Join(directory, "authldaprc")
	mapped := settings{
		"LDAP_EMAILMAP": "(&(uid=@user@)(quota=@realm@))", "LDAP_EMAILMAP_ATTRIBUTE": "handle",
		"LDAP_EMAILMAP_MAIL": "mail",
	}
	reload(t, d.base.with(mapped), file) // LDAP_EMAILMAP_BASEDN defaults to LDAP_BASEDN
	want(t, c, question{"login", "imap", "john@realm.example", "clear secret"}, `address="john@realm.example"`)
	want(t, c, question{"login", "imap", "o(dd)*@realm.example", "pass st*r"}, `address="o(dd)*@realm.example"`)
	want(t, c, question{"login", "imap", "*@realm.example", "clear secret"}, "refused")
	reload(t,
		d.base.with(settings{"LDAP_URI": "ldapi://" + strings.ReplaceAll(filepath.Join(dir.Dir, "s"), "/", "%2F")}),
		file)
	want(t, c, login, "address=")
}
