package auth

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// databases are the four, each with the same accounts.
var databases = []struct {
	module  string
	prepare func(*testing.B)
}{
	{"authuserdb", userdb},
	{"authmysql", mysql},
	{"authpgsql", pgsql},
	{"authldap", ldap},
}

// hash is the stored password.
func hash() string {
	sum := sha1.Sum([]byte("secret"))
	return "{SHA}" + base64.StdEncoding.EncodeToString(sum[:])
}

func userdb(b *testing.B) {
	accounts := make([]harness.Account, rateAccounts)
	for i := range accounts {
		accounts[i] = harness.Account{Name: rateUser(i), Password: "secret", Options: "mailhost=127.0.0.2"}
	}
	harness.Userdb(b, accounts...)
}

// table is the SQL that makes the accounts.
func table() string {
	rows := make([]string, rateAccounts)
	for i := range rows {
		rows[i] = fmt.Sprintf("('%s','%s',2000,2000,'/nonexistent','127.0.0.2')", rateUser(i), hash())
	}
	return "create table passwd (id varchar(128) primary key, crypt varchar(128), uid int, gid int, home " +
		"varchar(128), mailhost varchar(128));" +
		"insert into passwd values " + strings.Join(
		rows,
		",",
	) + ";"
}

// rcfile writes /etc/courier/<module>rc.
func rcfile(b *testing.B, module string, lines ...string) {
	b.Helper()
	text := "##NAME: MARKER:0\n" + strings.Join(lines, "\n") + "\n"
	path := "/etc/courier/" + module + "rc"
	harness.WriteFile(b, path, text, 0o600)
	harness.Run(b, "", "chown", "root:courier", path)
	harness.Run(b, "", "chmod", "640", path)
}

func mysql(b *testing.B) {
	d := harness.MariaDB(b, "127.0.3.1")
	d.SQL(b, table())
	rcfile(b, "authmysql", "MYSQL_SERVER\t"+d.Addr, "MYSQL_USERNAME\tmail", "MYSQL_PASSWORD\tmy'secret",
		"MYSQL_DATABASE\tmail", "MYSQL_PORT\t3306", "MYSQL_OPT\t0", "MYSQL_USER_TABLE\tpasswd",
		"MYSQL_CRYPT_PWFIELD\tcrypt", "MYSQL_AUXOPTIONS_FIELD\tCONCAT('mailhost=',mailhost)")
}

func pgsql(b *testing.B) {
	d := harness.Postgres(b, "127.0.3.2")
	d.SQL(b, table())
	rcfile(b, "authpgsql", "PGSQL_CONNECTION\thost="+d.Addr+` user=postgres dbname=mail password='pg\'secret'`,
		"PGSQL_USER_TABLE\tpasswd", "PGSQL_CRYPT_PWFIELD\tcrypt", "PGSQL_AUXOPTIONS_FIELD\t'mailhost=' || mailhost")
}

func ldap(b *testing.B) {
	var ldif strings.Builder
	for i := range rateAccounts {
		fmt.Fprintf(&ldif, `dn: uid=u%[1]d,%[2]s
objectClass: inetOrgPerson
objectClass: mailAccount
uid: u%[1]d
cn: u
sn: u
mail: %[3]s
userPassword: %[4]s
uidNumber: 2000
gidNumber: 2000
homeDirectory: /nonexistent
mailhost: 127.0.0.2

`, i, harness.LDAPSuffix, rateUser(i), hash())
	}
	d := harness.OpenLDAP(b, harness.LDAPOptions{Addr: "127.0.3.3", LDIF: ldif.String(),
		Schema: []string{filepath.Join(harness.Root(b), "etc/examples/mailproxy.schema")}})
	rcfile(b, "authldap", "LDAP_URI\tldap://"+d.Addr, "LDAP_PROTOCOL_VERSION\t3",
		"LDAP_BASEDN\t"+harness.LDAPSuffix, "LDAP_TIMEOUT\t5", "LDAP_INITBIND\t1",
		"LDAP_BINDDN\t"+harness.LDAPAdmin, "LDAP_BINDPW\t"+harness.LDAPPassword, "LDAP_MAIL\tmail",
		"LDAP_HOMEDIR\thomeDirectory", "LDAP_CRYPTPW\tuserPassword", "LDAP_UID\tuidNumber", "LDAP_GID\tgidNumber",
		"LDAP_DEREF\tnever", "LDAP_AUXOPTIONS\tmailhost=mailhost")
}
