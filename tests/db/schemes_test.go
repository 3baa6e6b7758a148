package db

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
	"mailproxy/tests/harness"
)

// dovecotSchemes are those that Dovecot's tables hold.
var dovecotSchemes = []string{
	"BLF-CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "MD5-CRYPT", "DES-CRYPT", "CRYPT", "ARGON2I", "ARGON2ID",
	"PBKDF2", "PLAIN", "CLEAR", "CLEARTEXT", "PLAIN-MD5", "LDAP-MD5", "SMD5", "SHA", "SHA1", "SSHA", "SHA256",
	"SSHA256", "SHA512", "SSHA512", "SCRAM-SHA-1", "SCRAM-SHA-256", "MD5", "SSHA.HEX", "SHA256.B64",
	"SMD5.BASE64", "PLAIN.HEX", "CRYPT.B64", "PBKDF2.HEX",
}

// doveadm runs doveadm pw with no configuration but its own.
func doveadm(t testing.TB, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command("doveadm", append([]string{"pw"}, args...)...).Output()
	return strings.TrimSuffix(string(out), "\n"), err
}

// TestDovecotSchemes takes hashes that doveadm made, in each database, and has doveadm check those that we
// make.
func TestDovecotSchemes(t *testing.T) {
	t.Parallel()
	const secret = "pä ss-wörd"
	var all []account
	for i, scheme := range dovecotSchemes {
		hash, err := doveadm(t, "-s", scheme, "-p", secret)
		if err != nil || !strings.HasPrefix(hash, "{"+scheme+"}") {
			t.Fatalf("doveadm pw -s %s: %q, %v", scheme, hash, err)
		}
		if i%2 == 1 {
			hash = strings.Replace(hash, "{"+scheme+"}", "{"+strings.ToLower(scheme)+"}", 1)
		}
		all = append(all,
			account{login: fmt.Sprintf("s%d@example.com", i), crypt: hash, uid: 5000, gid: 5000, home: "/h"})
		made, err := password.Hash(hash, secret)
		if err != nil {
			t.Errorf("%s: %v", scheme, err)
			continue
		}
		if out, err := doveadm(t, "-t", made, "-p", secret); err != nil || !strings.Contains(out, "(verified)") {
			t.Errorf("doveadm does not take %s: %q, %v", made, out, err)
		}
	}
	pg, my := harness.Postgres(t, "127.0.16.1"), harness.MariaDB(t, "127.0.16.2")
	pg.SQL(t, sqlTable(all, false))
	my.SQL(t, sqlTable(all, true))
	// Another value before and after: any of them may match.
	text := ldif(all)
	for _, a := range all {
		value := "userPassword:: " + base64.StdEncoding.EncodeToString([]byte(a.crypt)) + "\n"
		text = strings.Replace(text, value,
			"userPassword: {SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\n"+value+"userPassword: {SASL}other\n", 1)
	}
	dir := harness.OpenLDAP(t, harness.LDAPOptions{Addr: "127.0.16.3", LDIF: text,
		Schema: []string{filepath.Join(harness.Root(t), "etc/examples/mailproxy.schema")}})
	list := []database{
		{"authpgsql", pg, pgsqlSettings(pg), nil}, {"authmysql", my, mysqlSettings(my), nil},
		{"authldap", dir, ldapSettings(dir), nil},
	}
	for _, d := range list {
		t.Run(d.module, func(t *testing.T) {
			directory := harness.Dir(t)
			d.base.write(t, filepath.Join(directory, d.module+"rc"))
			askSchemes(t, plainDaemon(t, directory, d.module), all, secret)
		})
	}
	t.Run("authuserdb", func(t *testing.T) {
		directory, lines := harness.Dir(t), ""
		for _, a := range all {
			lines += fmt.Sprintf("%s\tuid=5000|gid=5000|home=/h|systempw=%s\n", a.login, a.crypt)
		}
		harness.WriteFile(t, filepath.Join(directory, "userdb"), lines, 0o600)
		askSchemes(t, plainDaemon(t, directory, "authuserdb"), all, secret)
	})
}

// plainDaemon starts our daemon without the race detector, under which some hashes take a second.
func plainDaemon(t *testing.T, directory, module string) *authlib.Client {
	t.Helper()
	runDaemon(t, harness.PlainBin(t, "authdaemond"), directory, module, nil)
	return &authlib.Client{Socket: filepath.Join(directory, "socket")}
}

func askSchemes(t *testing.T, c *authlib.Client, all []account, secret string) {
	t.Helper()
	for _, a := range all {
		want(t, c, question{"login", "imap", a.login, secret}, fmt.Sprintf("passwd2=%q", secret))
		want(t, c, question{"login", "imap", a.login, "y" + secret}, "refused")
		cram := "refused"
		for _, clear := range []string{"{plain", "{clear"} {
			if strings.HasPrefix(strings.ToLower(a.crypt), clear) &&
				!strings.HasPrefix(strings.ToLower(a.crypt), "{plain-md5") {
				cram = fmt.Sprintf("passwd2=%q", secret)
			}
		}
		want(t, c, question{"cram-sha256", "imap", a.login, secret}, cram)
		want(t, c, question{"cram-sha256", "imap", a.login, "wrong"}, "refused")
	}
}

// TestCryptLibrary compares the hashes that we make with those of the C library.
func TestCryptLibrary(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"{des-crypt}", "$1$", "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$7$", "$y$"} {
		like := scheme // with its own costs, and those low for the other passwords
		for _, clear := range []string{"secret", "pä ss-wörd", "x", strings.Repeat("long", 15)} {
			hash, err := password.Hash(like, clear)
			like = cmp.Or(lowCost[scheme], scheme)
			if err != nil {
				t.Fatal(err)
			}
			hash = strings.TrimPrefix(hash, "{des-crypt}")
			out, err := exec.Command("perl", "-e", "print crypt($ARGV[0], $ARGV[1])", clear, hash).Output()
			if err != nil || string(out) != hash {
				t.Errorf("%s of %q: the C library has %q, %v", hash, clear, out, err)
			}
		}
	}
}
