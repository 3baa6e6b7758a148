package db

import (
	"fmt"
	"path/filepath"
	"testing"

	"mailproxy/tests/harness"
	"mailproxy/tests/transcript"
)

// TestLoginLowercase: a client that types capital letters finds its account in every database with
// LOGIN_LOWERCASE=1. Without it MySQL and LDAP find it by themselves, PostgreSQL and userdb do not; nor does
// lower() in the login field, which folds the column alone.
func TestLoginLowercase(t *testing.T) {
	t.Parallel()
	ann := account{
		login: "ann@example.com", clear: "secret", mailhost: dovecotHost, uid: 4000, gid: 4000,
		home: "/nonexistent", quota: "1",
	}
	box := harness.Account{Name: ann.login, Password: ann.clear, Home: harness.NewHome(t)}
	harness.Dovecot(t, harness.DovecotOptions{Addr: dovecotHost, Accounts: []harness.Account{box}})
	box.Options = "mailhost=" + dovecotHost
	harness.Userdb(t, box)
	all := []account{ann}
	pg, my := harness.Postgres(t, "127.0.11.1"), harness.MariaDB(t, "127.0.11.2")
	pg.SQL(t, sqlTable(all, false))
	my.SQL(t, sqlTable(all, true))
	dir := directory(t, "127.0.11.3", all, harness.LDAPOptions{})
	folded := pgsqlSettings(pg).with(settings{"PGSQL_LOGIN_FIELD": "lower(id)"})

	socket := func(d database) string {
		_, _, directory := d.start(t, d.base)
		return filepath.Join(directory, "socket")
	}
	for i, c := range []struct {
		name, socket string
		alone        bool // the database finds it without the setting
	}{
		{"userdb", harness.Authdaemond(t, "authuserdb", nil).Socket, false},
		{"pgsql", socket(database{"authpgsql", pg, pgsqlSettings(pg), nil}), false},
		{"pgsql with lower()", socket(database{"authpgsql", pg, folded, nil}), false},
		{"mysql", socket(database{"authmysql", my, mysqlSettings(my), nil}), true},
		{"ldap", socket(database{"authldap", dir, ldapSettings(dir), nil}), true},
	} {
		for lower, want := range map[string]bool{"0": c.alone, "1": true} {
			addr := fmt.Sprintf("127.0.11.%d%s", 3+i, lower)
			harness.IMAP.UnderCourier(t, addr, harness.PlainBin(t, "imapd-proxy"), harness.Env{
				"AUTHDAEMON_SOCKET": c.socket, "IMAP_PROXY": "1", "LOGIN_LOWERCASE": lower, "LOGIN_FAIL_DELAY": "0",
			})
			answer := "S~ a NO \\[AUTHENTICATIONFAILED\\].*"
			if want {
				answer = "S* a OK .*"
			}
			r := harness.Dial(t, addr+":143")
			for _, s := range transcript.MustParse(t, "S* \\* OK .*\nC: a LOGIN Ann@EXAMPLE.com secret\n"+answer) {
				if err := r.Play(s); err != nil {
					t.Errorf("%s, LOGIN_LOWERCASE=%s: %v", c.name, lower, err)
				}
			}
		}
	}
}
