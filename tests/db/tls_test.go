package db

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// authority writes ca.pem, and cert.pem and key.pem for the address, to a new directory that user owns.
func authority(t testing.TB, addr string) (directory string) {
	t.Helper()
	pki := harness.NewPKI(t)
	pair := pki.CA.Issue(t, testcert.Spec{Name: "server", Names: []string{addr, "localhost"}})
	harness.WriteFile(t, filepath.Join(pki.Dir, "cert.pem"), pair.CertPEM(), 0o644)
	harness.WriteFile(t, filepath.Join(pki.Dir, "key.pem"), pair.KeyPEM(t), 0o644)
	return pki.Dir
}

// TestTLS reaches each database over TLS, and does not when its certificate is from somebody else.
func TestTLS(t *testing.T) {
	t.Parallel()
	all := accounts(t)
	stranger := authority(t, "127.0.8.99")
	type way struct {
		settings
		harness.Env
	}
	once := func(t *testing.T, d database, s settings, env harness.Env) (*authlib.Account, error) {
		m := newModule(d.module, d.base.with(s).file(t), func(name string) string { return env[name] }, t.Logf)
		defer m.Close()
		return answer(t.Context(), m, login)
	}
	try := func(t *testing.T, d database, good, bad map[string]way) {
		t.Helper()
		for name, w := range good {
			if a, err := once(t, d, w.settings, w.Env); err != nil || a.Address != login.user {
				t.Errorf("%s, %s: %v, %v", d.module, name, a, err)
			}
		}
		for name, w := range bad {
			a, err := once(t, d, w.settings, w.Env)
			if err == nil || errors.Is(err, authlib.ErrRefused) ||
				!strings.Contains(strings.ToLower(err.Error()), "certificate") {
				t.Errorf("%s, %s: %v, %v", d.module, name, a, err)
			}
		}
	}
	t.Run("authpgsql", func(t *testing.T) {
		ca := authority(t, "127.0.8.1")
		harness.Run(t, "", "chmod", "600", ca+"/key.pem")
		harness.Run(t, "", "chown", "-R", "postgres", ca)
		d := harness.Postgres(t, "127.0.8.1", "ssl=on", "ssl_cert_file="+ca+"/cert.pem",
			"ssl_key_file="+ca+"/key.pem", "ssl_ca_file="+ca+"/ca.pem")
		d.SQL(t, sqlTable(all, false)+"create role tlsonly login password 'x'; grant select on passwd to tlsonly;"+
			"create view encrypted as select p.* from passwd p join pg_stat_ssl s on s.pid = pg_backend_pid() and "+
			"s.ssl;")
		base := pgsqlSettings(d)
		with := func(more string) way {
			return way{
				settings: settings{
					"PGSQL_CONNECTION": base["PGSQL_CONNECTION"] + " " + more, "PGSQL_USER_TABLE": "encrypted",
				},
			}
		}
		try(t, database{"authpgsql", d, base, nil}, map[string]way{
			"require": with("sslmode=require"), "verify-ca": with("sslmode=verify-ca sslrootcert=" + ca + "/ca.pem"),
			"verify-full": with("sslmode=verify-full sslrootcert=" + ca + "/ca.pem"), "default": with(""),
			"client certificate": with("sslmode=require sslcert=" + ca + "/cert.pem sslkey=" + ca + "/key.pem"),
			"several hosts, libpq's own parameters": with(
				"sslmode=require connect_timeout=30 keepalives=1 gssencmode=prefer hostaddr=127.0.8.1"),
			"second host": {
				settings: settings{
					"PGSQL_CONNECTION": strings.Replace(base["PGSQL_CONNECTION"], "host=", "host=127.0.8.98,", 1),
				},
			},
		}, map[string]way{"stranger": with("sslmode=verify-ca sslrootcert=" + stranger + "/ca.pem")})
	})
	t.Run("authmysql", func(t *testing.T) {
		ca := authority(t, "127.0.8.2")
		harness.Run(t, "", "chown", "-R", "mysql", ca)
		d := harness.MariaDB(t, "127.0.8.2", "--ssl-ca="+ca+"/ca.pem", "--ssl-cert="+ca+"/cert.pem",
			"--ssl-key="+ca+"/key.pem")
		d.SQL(t, sqlTable(all, true)+"alter user mail@'%' require ssl;")
		base := mysqlSettings(d)
		try(t, database{"authmysql", d, base, nil}, map[string]way{
			"file": {settings: settings{"MYSQL_SSL_CACERT": ca + "/ca.pem", "MYSQL_SSL_CIPHER": "ALL:!DES"}},
			"directory": {
				settings: settings{"MYSQL_SSL_CAPATH": ca, "MYSQL_SSL_CIPHERS": "ECDHE-ECDSA-AES128-GCM-SHA256"},
			},
			"by name": {
				settings: settings{
					"MYSQL_SSL_CACERT": ca + "/ca.pem", "MYSQL_SERVER": "localhost", "MYSQL_SOCKET": d.Dir + "/s",
				},
			},
			"client certificate": {
				settings: settings{
					"MYSQL_SSL_CACERT": ca + "/ca.pem", "MYSQL_SSL_CERT": ca + "/cert.pem",
					"MYSQL_SSL_KEY": ca + "/key.pem",
				},
			},
		}, map[string]way{"stranger": {settings: settings{"MYSQL_SSL_CACERT": stranger + "/ca.pem"}}})
	})
	t.Run("authldap", func(t *testing.T) {
		ca := authority(t, "127.0.8.3")
		d := directory(t, "127.0.8.3", all, harness.LDAPOptions{TLS: true, Config: "security ssf=56\n",
			Global: fmt.Sprintf(
				"TLSCACertificateFile %s/ca.pem\nTLSCertificateFile %s/cert.pem\nTLSCertificateKeyFile %s/key.pem\n", ca,
				ca, ca)})
		base := ldapSettings(d)
		trust := harness.Env{"LDAPTLS_CACERT": ca + "/ca.pem"}
		ldaps, startTLS := settings{"LDAP_URI": "ldaps://127.0.8.3"}, settings{"LDAP_TLS": "1"}
		try(t, database{"authldap", d, base, nil}, map[string]way{
			"ldaps": {
				ldaps, trust,
			}, "StartTLS": {startTLS, trust}, "never": {startTLS, harness.Env{"LDAPTLS_REQCERT": "never"}},
			"directory": {ldaps, harness.Env{"LDAPTLS_CACERTDIR": ca}},
			"client certificate, bind": {startTLS.with(settings{"LDAP_AUTHBIND": "1", "LDAP_CLEARPW": ""}),
				harness.Env{
					"LDAPTLS_CACERT": ca + "/ca.pem", "LDAPTLS_CERT": ca + "/cert.pem", "LDAPTLS_KEY": ca + "/key.pem",
				}},
		}, map[string]way{
			"stranger": {ldaps, harness.Env{"LDAPTLS_CACERT": stranger + "/ca.pem"}}, "unknown": {startTLS, nil},
			"wrong name": {
				settings{"LDAP_URI": "ldaps://127.0.8.3:636/ ldaps://0.0.0.0:636"},
				harness.Env{"LDAPTLS_CACERT": stranger + "/ca.pem"},
			},
		})
	})
}
