package db

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// sample reads a file of etc/ with some of its settings changed, as an administrator would.
func sample(t *testing.T, name string, pairs ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(t), "etc", name))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(string(text), pairs[i]) {
			t.Fatalf("%s does not contain %q", name, pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(string(text))
}

// TestSamples runs both daemons with the files of etc/ and the examples that they name.
func TestSamples(t *testing.T) {
	questions := append(
		some("imap", "secret", "anna@example.com", "bert@example.com"),
		some("imap", "x", "nobody@example.com")...)
	try := func(module, file, want string) {
		t.Helper()
		p := newPair(t, module, settings{}, nil)
		for _, folder := range []string{"/etc/courier", p.folder} {
			path := filepath.Join(folder, module+"rc")
			if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		settle()
		p.compare(t, questions, nil)
		for user, host := range map[string]string{"anna@example.com": "mail1.example.com",
			"bert@example.com": "mail2.example.com:1143"} {
			if got := ask(p.ours, question{"pre", "imap", user, ""}); !strings.Contains(got, want+host+`"`) {
				t.Errorf("%s: %s: %s", module, user, got)
			}
		}
		p.sameList(t)
	}
	pg := harness.Postgres(t, "127.0.9.1")
	pg.SQL(t, sample(t, "examples/pgsql.sql"))
	try(
		"authpgsql",
		sample(t, "authpgsqlrc", "host=/run/postgresql", "host="+pg.Dir, "# PGSQL_CLEAR_PWFIELD",
			"PGSQL_CLEAR_PWFIELD"),
		`options="mailhost=`,
	)

	my := harness.MariaDB(t, "127.0.9.2")
	my.SQL(t, sample(t, "examples/mysql.sql"))
	try(
		"authmysql",
		sample(t, "authmysqlrc", "# MYSQL_SOCKET		/run/mysqld/mysqld.sock", "MYSQL_SOCKET	"+my.Dir+"/s",
			"# MYSQL_CLEAR_PWFIELD", "MYSQL_CLEAR_PWFIELD"),
		`options="mailhost=`,
	)

	dir := directory(
		t,
		"127.0.9.3",
		nil,
		harness.LDAPOptions{LDIF: strings.Replace(sample(t, "examples/mailproxy.ldif"),
			"dn: ou=people,dc=example,dc=com\nobjectClass: organizationalUnit\nou: people\n", "", 1)},
	)
	try(
		"authldap",
		sample(t, "authldaprc", "ldap://ldap1.example.com, ldap://ldap2.example.com", "ldap://"+dir.Addr,
			"cn=mailproxy,", "cn=admin,", "LDAP_BINDPW		change-me", "LDAP_BINDPW		"+harness.LDAPPassword,
			"LDAP_AUTHBIND		1", "", "# LDAP_CLEARPW", "LDAP_CLEARPW"),
		`options="mailhost=`,
	)
}
