package db

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// change asks for a new password and returns "ok", "refused" or "temporary failure".
func change(t *testing.T, c *authlib.Client, user, old, new string) string {
	t.Helper()
	err := c.ChangePassword(t.Context(),
		&authlib.PasswordRequest{Service: "imap", User: user, OldPassword: old, NewPassword: new})
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, authlib.ErrRefused):
		return "refused"
	}
	return "temporary failure"
}

// TestChangePassword changes passwords in each database and logs in with the new ones.
func TestChangePassword(t *testing.T) {
	t.Parallel()
	const awkward = `n'ew\ "p%w $(domain) ü*)(`
	for _, d := range databases(t, "127.0.7") {
		c, _, directory := d.start(t, d.base)
		file := directory + "/" + d.module + "rc"
		prefix := map[string]string{"authpgsql": "PGSQL_", "authmysql": "MYSQL_"}[d.module]
		// old and new are tried before and after.
		expect := func(t *testing.T, user, old, new, want string) {
			t.Helper()
			if got := change(t, c, user, old, new); got != want {
				t.Errorf("%q: %s, want %s", user, got, want)
			}
			if want != "ok" {
				return
			}
			if got := ask(c, question{"login", "imap", user, new}); !strings.Contains(got, "address=") {
				t.Errorf("%q with the new password: %s", user, got)
			}
			if got := ask(c, question{"login", "imap", user, old}); got != "refused" {
				t.Errorf("%q with the old password: %s", user, got)
			}
		}
		t.Run(d.module, func(t *testing.T) {
			expect(t, "clear@example.com", "wrong", "x", "refused")
			expect(t, "clear@example.com", "", "x", "refused")
			expect(t, "nobody@example.com", "clear secret", "x", "refused")
			expect(t, "nopassword@example.com", "", "x", "refused")
			expect(t, "clear@example.com", "clear secret", awkward, "ok")
			expect(t, "o'brien@example.com", "pass o'brien", awkward, "ok")
			for _, scheme := range []string{"ssha", "6", "md5"} { // the hash keeps its scheme
				user := "hash-" + scheme + "@example.com"
				expect(t, user, "hash secret", awkward, "ok")
				mark := map[string]string{"ssha": "{SSHA}", "6": "$6$", "md5": "{MD5}"}[scheme]
				if got := ask(c, question{"pre", "imap", user, ""}); !strings.Contains(got, `passwd="`+mark) {
					t.Errorf("%s: %s", user, got)
				}
			}
			if prefix == "" {
				return
			}
			// The crypt column of an account that had a clear password only.
			if got := ask(c, question{"pre", "imap", "clear@example.com", ""}); !strings.Contains(got,
				`passwd="{SSHA}`) ||
				!strings.Contains(got, fmt.Sprintf("passwd2=%q", awkward)) {
				t.Errorf("both columns: %s", got)
			}
			// The default UPDATE has the WHERE clause: this account exists twice.
			key := map[string]string{"authpgsql": "alter table passwd drop constraint passwd_pkey;",
				"authmysql": "alter table passwd drop primary key;"}[d.module]
			d.server.SQL(t, key+"insert into passwd (id, crypt, clear, uid, gid, home, server) values "+
				"('twin','','one',1,1,'/1','one'),('twin','','two',2,2,'/2','two');")
			reload(t, d.base.with(settings{prefix + "WHERE_CLAUSE": "server='two' OR server='three'"}), file)
			expect(t, "twin", "two", "new two", "ok")
			if got := strings.TrimSpace(d.server.SQL(t,
				"select clear from passwd where id='twin' and server='one'")); got != "one" {
				t.Errorf("the twin's password is %q now", got)
			}
			reload(t, d.base.with(settings{prefix + "CLEAR_PWFIELD": ""}), file)
			expect(t, "hash-sha@example.com", "hash secret", awkward, "ok")
			if got := strings.TrimSpace(d.server.SQL(t,
				"select clear from passwd where id='hash-sha@example.com'")); got != "" {
				t.Errorf("clear column without CLEAR_PWFIELD: %q", got)
			}
			clause := "UPDATE passwd SET clear='$(newpass)', crypt='$(newpass_crypt)' WHERE " +
				"id='$(local_part)@$(domain)'"
			reload(t, d.base.with(settings{prefix + "CHPASS_CLAUSE": clause}), file)
			expect(t, "st*r@example.com", "pass st*r", awkward, "ok")
			expect(t, `back\slash@example.com`, `pass back\slash`, awkward, "ok")
			// Courier's daemon let this name change every password.
			d.server.SQL(t, "insert into passwd (id, crypt, clear, uid, gid, home) values "+
				"('x'' or ''1''=''1@example.com','','evil',9,9,'/9')")
			expect(t, "x' or '1'='1@example.com", "evil", "evil2", "ok")
			if got := ask(c, question{"login", "imap", "both@example.com", "both secret"}); !strings.Contains(got,
				"address=") {
				t.Errorf("somebody else after the attack: %s", got)
			}
			reload(
				t,
				d.base.with(
					settings{
						prefix + "USER_TABLE": "",
						prefix + "SELECT_CLAUSE": "SELECT id, crypt, clear, uid, gid, home FROM passwd WHERE " +
							"id='$(local_part)@$(domain)'",
					},
				),
				file,
			)
			expect(t, "both@example.com", "both secret", "x", "temporary failure") // nobody said how
			// The queries that Courier's own files show, written as there; in PostgreSQL's two slips are mended.
			d.server.SQL(t, courierTables)
			reload(t, d.base.with(courierQueries(prefix)), file)
			want(t, c, question{"login", "imap", "it's@courier.example", "box secret"},
				`home="/srv/it's" address="it's`)
			want(t, c, question{"login", "imap", "it''s@courier.example", "box secret"}, "refused")
			want(t, c, question{"login", "imap", "it's@other.example", "box secret"}, "refused")
			if n, err := count(t, c); n != 0 || err != nil { // the placeholders stand for nothing
				t.Errorf("%d accounts, %v", n, err)
			}
			if got := change(t, c, "it's@courier.example", "box secret", awkward); got != "ok" {
				t.Errorf("Courier's query: %s", got)
			}
			box := d.server.SQL(t, "select clearpw from popbox where local_part='it''s'")
			if got := strings.TrimSpace(box); !strings.HasPrefix(got, "n'ew") {
				t.Errorf("Courier's query stored %q", got)
			}
		})
	}
}

const courierTables = `create table domain (domain_name varchar(100), uid int, gid int, path varchar(100),
	quota varchar(100));
create table popbox (local_part varchar(100), domain_name varchar(100), password_hash varchar(200),
	clearpw varchar(100), mbox_name varchar(100), sharedgroup varchar(100));
insert into domain values ('courier.example', 7, 8, '/srv', ''), ('other.example', 7, 8, '/other', '');
insert into popbox values ('it''s', 'courier.example', 'u/8tLE21qodK1J0pxC9MuA==', '', 'it''s', 'a');`

// courierQueries are those of Courier's authmysqlrc and authpgsqlrc.
func courierQueries(prefix string) settings {
	const where = `			FROM popbox, domain				\
			WHERE popbox.local_part = '$(local_part)'	\
			AND popbox.domain_name = '$(domain)'		\
			AND popbox.domain_name = domain.domain_name`
	s := settings{
		"MYSQL_SELECT_CLAUSE": `SELECT CONCAT(popbox.local_part, '@', popbox.domain_name),			\
			CONCAT('{MD5}', popbox.password_hash),		\
			popbox.clearpw, domain.uid, domain.gid, CONCAT(domain.path, '/', popbox.mbox_name),	\
			'', domain.quota, '', CONCAT("disableimap=",0,",sharedgroup=",sharedgroup)             \
` + where,
		"MYSQL_ENUMERATE_CLAUSE": `SELECT CONCAT(popbox.local_part, '@', popbox.domain_name),			\
			domain.uid, domain.gid, CONCAT(domain.path, '/', popbox.mbox_name), '',			\
			CONCAT('sharedgroup=', sharedgroup)		\
` + where,
		"PGSQL_SELECT_CLAUSE": `SELECT popbox.local_part || '@' || popbox.domain_name,			\
			'{MD5}' || popbox.password_hash,		\
			popbox.clearpw, domain.uid, domain.gid, domain.path || '/' || popbox.mbox_name,	\
			'', domain.quota, ''						\
` + where,
		"PGSQL_ENUMERATE_CLAUSE": `SELECT popbox.local_part || '@' || popbox.domain_name,	\
			domain.uid, domain.gid, domain.path || '/' || popbox.mbox_name, '', 'sharedgroup=' || sharedgroup	\
` + where,
	}
	for name := range s {
		if !strings.HasPrefix(name, prefix) {
			delete(s, name)
		}
	}
	s[prefix+"CHPASS_CLAUSE"] = `UPDATE	popbox					\
			SET	clearpw='$(newpass)',			\
				password_hash='$(newpass_crypt)'	\
			WHERE	local_part='$(local_part)'		\
			AND	domain_name='$(domain)'`
	return s
}

// TestChangePasswordAsUser changes passwords in a directory where only the user may.
func TestChangePasswordAsUser(t *testing.T) {
	t.Parallel()
	dir := directory(
		t,
		"127.0.7.9",
		accounts(t),
		harness.LDAPOptions{Config: `access to attrs=userPassword by self write by anonymous auth by * none
access to * by * read`},
	)
	d := database{"authldap", dir, ldapSettings(dir), nil}
	c, _, _ := d.start(
		t,
		d.base.with(
			settings{
				"LDAP_AUTHBIND": "1", "LDAP_CLEARPW": "", "LDAP_INITBIND": "0", "LDAP_BINDDN": "", "LDAP_BINDPW": "",
			},
		),
	)
	for _, q := range []question{{"login", "imap", "bench@example.com", ""},
		{"cram-md5", "imap", "clear@example.com", "clear secret"}, {"login", "imap", "bench@example.com",
			"wrong"}} {
		if got := ask(c, q); got != "refused" {
			t.Errorf("%s: %s", q, got)
		}
	}
	for _, step := range [][3]string{{"wrong", "x", "refused"}, {"", "x", "refused"},
		{"both secret", "new one", "ok"}, {"both secret", "x", "refused"}, {"new one", "newer", "ok"}} {
		if got := change(t, c, "bench@example.com", step[0], step[1]); got != step[2] {
			t.Errorf("%q: %s", step, got)
		}
	}
	if got := ask(c, question{"login", "imap", "bench@example.com", "newer"}); !strings.Contains(got,
		`passwd2="newer"`) {
		t.Errorf("with the new password: %s", got)
	}
}
