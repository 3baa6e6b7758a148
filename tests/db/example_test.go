package db

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// sample reads a file of etc/ with some of its settings changed, as an administrator would.
func sample(t *testing.T, name string, pairs ...string) string {
	t.Helper()
	text := harness.Source(t, "etc/"+name)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%s does not contain %q", name, pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// TestSamples runs both daemons with the files of etc/ and the examples that they name.
func TestSamples(t *testing.T) {
	questions := append(
		some("imap", "secret", "anna@example.com", "bert@example.com"),
		some("imap", "x", "nobody@example.com")...)
	try := func(module, file, want string) *pair {
		t.Helper()
		p := newPair(t, module, settings{}, nil)
		p.write(t, file)
		p.compare(t, questions, nil)
		for user, host := range map[string]string{"anna@example.com": "mail1.example.com",
			"bert@example.com": "mail2.example.com:1143"} {
			if got := ask(p.ours, question{"pre", "imap", user, ""}); !strings.Contains(got, want+host+`"`) {
				t.Errorf("%s: %s: %s", module, user, got)
			}
		}
		p.sameList(t)
		return p
	}
	pg := harness.Postgres(t, "127.0.9.1")
	pg.SQL(t, sample(t, "examples/pgsql.sql"))
	rc := sample(t, "authpgsqlrc", "host=/run/postgresql", "host="+pg.Dir, "# PGSQL_CLEAR_PWFIELD",
		"PGSQL_CLEAR_PWFIELD")
	moves(t, try("authpgsql", rc, `options="mailhost=`), pg, rc)

	my := harness.MariaDB(t, "127.0.9.2")
	my.SQL(t, sample(t, "examples/mysql.sql"))
	rc = sample(t, "authmysqlrc", "# MYSQL_SOCKET		/run/mysqld/mysqld.sock", "MYSQL_SOCKET	"+my.Dir+"/s",
		"# MYSQL_CLEAR_PWFIELD", "MYSQL_CLEAR_PWFIELD")
	moves(t, try("authmysql", rc, `options="mailhost=`), my, rc)

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

// write writes the module's configuration for both daemons.
func (p *pair) write(t *testing.T, rc string) {
	t.Helper()
	p.clock = p.clock.Add(2 * time.Second)
	for _, directory := range []string{"/etc/courier", p.directory} {
		path := filepath.Join(directory, p.module+"rc")
		err := os.WriteFile(path, []byte(rc), 0o600)
		if err == nil {
			err = os.Chtimes(path, p.clock, p.clock) // Courier's sees a change by the second
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	settle()
}

// moves runs what docs/moving.md has for databases, with the account of the sample.
func moves(t *testing.T, p *pair, d *harness.Database, rc string) {
	t.Helper()
	page := harness.ReadPage(t, "moving.md")
	block := func(mark string) string {
		return strings.NewReplacer("ann@", "anna@", ".example'", ".example.com'").Replace(page.Block(t, mark))
	}
	d.SQL(t, block("sql prepare"))
	options := block("rc " + strings.TrimPrefix(p.module, "auth"))
	name, _, _ := strings.Cut(options, "\t")
	p.write(t, regexp.MustCompile("(?m)^"+name+"\t.*\n").ReplaceAllLiteralString(rc, options))
	for _, c := range []struct{ mark, want string }{
		{"", `options="mailhost=mail1.example.com"`},
		{"sql hold", `options="mailhost=mail1.example.com,hold=50"`},
		{"sql change", `options="mailhost=mail2.example.com"`},
	} {
		if c.mark != "" {
			d.SQL(t, block(c.mark))
		}
		for _, daemon := range []*authlib.Client{p.courier, p.ours} {
			want(t, daemon, question{"pre", "imap", "anna@example.com", ""}, c.want)
		}
	}
}
