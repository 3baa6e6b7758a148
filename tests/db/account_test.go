package db

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mailproxy/authlib/password"
	"mailproxy/tests/harness"
)

// account is a row of the table that all databases are filled with.
type account struct {
	login, crypt, clear   string
	uid, gid              int
	home, maildir         string
	quota, name, mailhost string
	secret                string // the password that is to work; "" = none does
}

// lowCost are hashes whose costs new ones take over, for the schemes whose own costs are high.
var lowCost = map[string]string{
	"$2a$": "$2a$04$CCCCCCCCCCCCCCCCCCCCC.4K7",
	"$2b$": "$2b$04$CCCCCCCCCCCCCCCCCCCCC.4K7",
	"$2y$": "$2y$04$CCCCCCCCCCCCCCCCCCCCC.4K7",
	"$7$":  "$7$66..../....SodiumChloride$KnaT",
	"$y$":  "$y$j75$F5Jx5fExrKuPp53xLKQ..1$l5Yi",
}

// accounts returns the table, made once.
func accounts(t testing.TB) []account {
	t.Helper()
	all, err := table()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var table = sync.OnceValues(func() (all []account, err error) {
	add := func(a account) {
		if a.home == "" {
			a.home = "/home/" + fmt.Sprint(len(all))
		}
		if a.home == "none" {
			a.home = ""
		}
		if a.uid == 0 {
			a.uid = 1000 + len(all)
		}
		if a.gid == 0 {
			a.gid = 2000 + len(all)
		}
		a.uid, a.gid = max(a.uid, 0), max(a.gid, 0) // -1 means 0
		all = append(all, a)
	}
	for _, scheme := range []string{"$1$", "$5$", "$6$", "$2b$", "$y$", "{MD5}", "{MD5RAW}", "{SHA}", "{SHA256}",
		"{SHA512}", "{SSHA}", "{SSHA256}", "{SSHA512}"} {
		hash, err := password.Hash(cmp.Or(lowCost[scheme], scheme), "hash secret")
		if err != nil {
			return nil, err
		}
		name := strings.Trim(strings.ToLower(scheme), "${}")
		add(account{login: "hash-" + name + "@example.com", crypt: hash, secret: "hash secret"})
		if strings.HasPrefix(scheme, "$") {
			add(account{login: "crypt-" + name + "@example.com", crypt: "{CRYPT}" + hash, secret: "hash secret"})
		}
	}
	sha, err := password.Hash("{SHA}", "both secret")
	if err != nil {
		return nil, err
	}
	add(account{login: "bench@example.com", crypt: sha, secret: "both secret"})
	add(
		account{
			login: "clear@example.com", clear: "clear secret", secret: "clear secret", maildir: "Mail",
			quota: "1000S", name: "Clear Person, Office 5", mailhost: "127.0.0.9",
		},
	)
	add(
		account{login: "both@example.com", crypt: sha, clear: "other", secret: "both secret", maildir: "/abs/Mail"})
	add(account{login: "nopassword@example.com"})
	add(account{login: "locked@example.com", crypt: "!", clear: "clear secret"})
	add(account{login: "unknown-scheme@example.com", crypt: "{ROT13}frperg"})
	add(account{login: "uid0@example.com", clear: "clear secret", uid: -1})
	add(account{login: "gid0@example.com", clear: "clear secret", gid: -1})
	add(account{login: "nohome@example.com", clear: "clear secret", home: "none"})
	add(account{login: "bare", clear: "clear secret", secret: "clear secret"})
	add(account{login: "user@default.org", clear: "clear secret", secret: "clear secret"})
	add(account{login: "Jürgen.Müller@exämple.com", clear: "sécret", secret: "sécret", name: "Jürgen Müller"})
	add(account{login: "日本@example.com", clear: "秘密", secret: "秘密"})
	for _, odd := range []string{
		"o'brien", `back\slash`, `end\`, "per%cent", "under_score", "st*r", "par)en", "par(en", `dou"ble`,
		"semi;colon", "two  blanks", "dollar$(domain)", "back`tick", "hash#tag", "slash/es", "a&b|c", "$q$",
		"comma,equal=plus+", "<angle>", "--dash",
	} {
		add(account{login: odd + "@example.com", clear: "pass " + odd, secret: "pass " + odd})
	}
	return all, nil
})

func sqlQuote(s string, backslash bool) string {
	if backslash {
		s = strings.ReplaceAll(s, `\`, `\\`)
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// sqlTable returns the statements that make the table "passwd" and, for joins, "domains".
func sqlTable(all []account, backslash bool) string {
	var b strings.Builder
	b.WriteString(`create table passwd (id varchar(128) primary key, crypt varchar(255), clear varchar(128),
	uid int, gid int, home varchar(255), maildir varchar(255), quota varchar(40), name varchar(128),
	mailhost varchar(128), server varchar(40) default 'one');
`)
	for _, a := range all {
		q := func(s string) string { return sqlQuote(s, backslash) }
		fmt.Fprintf(&b, "insert into passwd values (%s,%s,%s,%d,%d,%s,%s,%s,%s,%s,'one');\n", q(a.login),
			q(a.crypt), q(a.clear), a.uid, a.gid, q(a.home), q(a.maildir), q(a.quota), q(a.name), q(a.mailhost))
	}
	return b.String()
}

// ldif returns the same accounts as entries below ou=people.
func ldif(all []account) string {
	var b strings.Builder
	b.WriteString("dn: ou=people,dc=example,dc=com\nobjectClass: organizationalUnit\nou: people\n\n")
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s:: %s\n", name, base64.StdEncoding.EncodeToString([]byte(value)))
		}
	}
	for i, a := range all {
		fmt.Fprintf(&b, `dn: uid=u%[1]d,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
objectClass: mailAccount
uid: u%[1]d
`, i)
		name := a.name
		if name == "" {
			name = fmt.Sprint("user ", i)
		}
		line("cn", name)
		line("sn", name)
		line("mail", a.login)
		line("homeDirectory", a.home)
		fmt.Fprintf(&b, "uidNumber: %d\ngidNumber: %d\n", a.uid, a.gid)
		line("mailbox", a.maildir)
		line("quota", a.quota)
		line("mailhost", a.mailhost)
		line("clearPassword", a.clear)
		line("userPassword", a.crypt)
		b.WriteString("\n")
	}
	return b.String()
}

// directory starts OpenLDAP with the accounts; o says more, and gives further LDIF.
func directory(t testing.TB, addr string, all []account, o harness.LDAPOptions) *harness.Database {
	o.Addr = addr
	o.Schema = append(o.Schema, filepath.Join(harness.Root(t), "etc/examples/mailproxy.schema"))
	o.LDIF = ldif(all) + o.LDIF
	return harness.OpenLDAP(t, o)
}

func mysqlSettings(d *harness.Database) settings {
	return settings{
		"MYSQL_SERVER": d.Addr, "MYSQL_USERNAME": "mail", "MYSQL_PASSWORD": "my'secret",
		"MYSQL_DATABASE": "mail", "MYSQL_PORT": "3306", "MYSQL_OPT": "0",
		"MYSQL_USER_TABLE": "passwd", "MYSQL_CRYPT_PWFIELD": "crypt", "MYSQL_CLEAR_PWFIELD": "clear",
		"MYSQL_NAME_FIELD": "name", "MYSQL_MAILDIR_FIELD": "maildir", "MYSQL_QUOTA_FIELD": "quota",
		"MYSQL_AUXOPTIONS_FIELD": `CONCAT("mailhost=",mailhost)`,
	}
}

func pgsqlSettings(d *harness.Database) settings {
	return settings{"PGSQL_CONNECTION": `host=` + d.Addr + ` user=postgres dbname=mail password='pg\'secret'`,
		"PGSQL_USER_TABLE": "passwd", "PGSQL_CRYPT_PWFIELD": "crypt", "PGSQL_CLEAR_PWFIELD": "clear",
		"PGSQL_NAME_FIELD": "name", "PGSQL_MAILDIR_FIELD": "maildir", "PGSQL_QUOTA_FIELD": "quota",
		"PGSQL_AUXOPTIONS_FIELD": `'mailhost=' || mailhost`}
}

func ldapSettings(d *harness.Database) settings {
	return settings{
		"LDAP_URI": "ldap://" + d.Addr, "LDAP_PROTOCOL_VERSION": "3",
		"LDAP_BASEDN": harness.LDAPSuffix, "LDAP_TIMEOUT": "15",
		"LDAP_BINDDN": harness.LDAPAdmin, "LDAP_BINDPW": harness.LDAPPassword,
		"LDAP_INITBIND": "1", "LDAP_MAIL": "mail", "LDAP_HOMEDIR": "homeDirectory",
		"LDAP_MAILDIR": "mailbox", "LDAP_FULLNAME": "cn", "LDAP_CLEARPW": "clearPassword",
		"LDAP_CRYPTPW": "userPassword", "LDAP_UID": "uidNumber",
		"LDAP_GID": "gidNumber", "LDAP_DEREF": "never", "LDAP_MAILDIRQUOTA": "quota",
		"LDAP_AUXOPTIONS": "mailhost=mailhost",
	}
}
