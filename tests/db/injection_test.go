package db

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// injections are names that would change a query or a filter if they got into its text.
func injections() (names []string) {
	for _, inner := range []string{
		// the end of a quoted value
		`' OR '1'='1`, `' OR 1=1 -- `, `' OR 1=1 #`, `') OR ('1'='1`, `\' OR 1=1 -- `, `" OR "1"="1`,
		`" OR 1=1 -- `, "` OR 1=1 -- ", `$q$ OR 1=1 -- `, `$$ OR 1=1 -- `, `%27 OR 1=1`,
		`'||(SELECT clear FROM passwd LIMIT 1)||'`, `\'; UPDATE passwd SET clear='x' -- `,
		`'; DELETE FROM passwd; --`, `' UNION SELECT id,'','x',1,1,'/','','','','' FROM passwd -- `,
		// the first half of a character that would take the quote's backslash for its second
		"\xbf' OR 1=1 -- ", "\xbf\x5c' OR 1=1 -- ", "\x83' OR 1=1 -- ",
		// a value that is not quoted, and patterns
		`1 OR 1=1`, `(SELECT id FROM passwd LIMIT 1)`, `%`, `%%`, `_`,
		// filters of LDAP
		`*`, `*)(mail=*`, `*)(|(mail=*)`, `clear@example.com)(mail=*`, `\2a`, `)(objectClass=*`, `(&)`,
		// the templates' own variables
		`$(local_part)`, `$(domain)`, `@user@`, `@realm@`,
	} {
		names = append(names, inner, inner+"@example.com", "clear"+inner, "clear@example.com"+inner, "x@"+inner)
	}
	return names
}

// attack asks our daemon for each name in every way; the only answer may be "refused". Then it checks that
// the table and a harmless login are as they were.
func attack(t *testing.T, c *authlib.Client, failures bool) {
	t.Helper()
	for _, name := range injections() {
		for _, q := range []question{
			{"login", "imap", name, "clear secret"},
			{"login", name, "clear@example.com", "wrong"},
			{"pre", "imap", name, ""},
			{"cram-md5", "imap", name, "clear secret"},
			{"login", "imap", "clear@example.com", name},
		} {
			if authlib.HasControl(name) || q.service != "imap" && strings.ContainsAny(name, " \t") {
				continue
			}
			if got := ask(c, q); got != "refused" && !(failures && got == "temporary failure") {
				t.Errorf("%s: %s", q, got)
			}
		}
		err := c.ChangePassword(t.Context(),
			&authlib.PasswordRequest{Service: "imap", User: name, OldPassword: "clear secret", NewPassword: "changed"})
		if err == nil {
			t.Errorf("the password of %q was changed", name)
		}
	}
}

func TestInjection(t *testing.T) {
	t.Parallel()
	const columns = "SELECT id, crypt, clear, uid, gid, home FROM passwd WHERE "
	const change = "UPDATE passwd SET clear='$(newpass)' WHERE id='$(local_part)@$(domain)'"
	for _, d := range databases(t, "127.0.6") {
		directory := harness.Dir(t)
		d.base.write(t, filepath.Join(directory, d.module+"rc"))
		runDaemon(t, harness.PlainBin(t, "authdaemond"), directory, d.module,
			nil) // thousands of questions, one after the other
		c := &authlib.Client{Socket: filepath.Join(directory, "socket")}
		templates := map[string]settings{"generated": {}}
		sql := func(prefix string, list map[string]string) {
			for name, where := range list {
				templates[name] = settings{prefix + "SELECT_CLAUSE": columns + where, prefix + "CHPASS_CLAUSE": change}
			}
			templates["default domain"] = settings{"DEFAULT_DOMAIN": "it's\\x"}
		}
		switch d.module {
		case "authpgsql":
			sql("PGSQL_", map[string]string{
				"whole":  `id='$(local_part)@$(domain)' AND '$(service)' <> ''`,
				"bare":   `id=$(local_part) || '@' || $(domain)`,
				"like":   `id LIKE '$(local_part)@$(domain)' AND id = '$(local_part)@$(domain)'`,
				"cast":   `id=CAST('$(local_part)@$(domain)' AS varchar)`,
				"concat": `id=concat('$(local_part)', '@', '$(domain)')`,
				"in":     `id IN ('$(local_part)@$(domain)', '')`,
			})
			templates["latin1"] = settings{"PGSQL_CHARACTER_SET": "LATIN1"}
			templates["sjis"] = settings{"PGSQL_CHARACTER_SET": "SJIS"}
			templates["conforming off"] = settings{
				"PGSQL_CONNECTION":    d.base["PGSQL_CONNECTION"] + ` options='-c standard_conforming_strings=off'`,
				"PGSQL_SELECT_CLAUSE": columns + `id='$(local_part)@$(domain)'`,
			}
		case "authmysql":
			sql("MYSQL_", map[string]string{
				"whole":  `id='$(local_part)@$(domain)' AND '$(service)' <> ''`,
				"double": `id="$(local_part)@$(domain)"`,
				"bare":   `id=CONCAT($(local_part), '@', $(domain))`,
				"in":     `id IN ('$(local_part)@$(domain)', '')`,
				"name":   "`id`='$(local_part)@$(domain)' AND (SELECT 1 AS `it's`) = 1 -- it's",
			})
			for _, set := range []string{"gbk", "sjis", "big5", "latin1", "utf8"} {
				templates[set] = settings{"MYSQL_CHARACTER_SET": set}
				templates[set+" clause"] = settings{
					"MYSQL_CHARACTER_SET": set, "MYSQL_SELECT_CLAUSE": columns + `id='$(local_part)@$(domain)'`,
				}
			}
		case "authldap":
			templates["bind"] = settings{"LDAP_AUTHBIND": "1", "LDAP_CLEARPW": ""}
			templates["filter"] = settings{"LDAP_FILTER": "(|(objectClass=mailAccount)(uid=x))"}
			templates["emailmap"] = settings{
				"LDAP_EMAILMAP":           "(&(objectClass=mailAccount)(mail=@user@@realm@))",
				"LDAP_EMAILMAP_ATTRIBUTE": "mail",
			}
		}
		for name, changes := range templates {
			t.Run(d.module+"/"+name, func(t *testing.T) {
				reload(t, d.base.with(changes), directory+"/"+d.module+"rc")
				if name != "bind" && name != "emailmap" && name != "default domain" {
					if got := ask(c, question{"login", "imap", "clear@example.com", "clear secret"}); !strings.Contains(got,
						`address="clear@example.com"`) {
						t.Fatalf("the harmless login: %s", got)
					}
				}
				attack(t, c, false)
			})
		}
		reload(t, d.base, directory+"/"+d.module+"rc")
		for _, a := range accounts(t) {
			if d.module == "authldap" && (a.login == "both@example.com" || strings.ContainsAny(a.login, "ü日")) {
				continue // the clear attribute decides; slapd's mail attribute is ASCII
			}
			if a.secret != "" && !strings.HasPrefix(a.login, "hash-") && !strings.HasPrefix(a.login, "crypt-") {
				if got := ask(c, question{"login", "imap", a.login, a.secret}); !strings.Contains(got,
					fmt.Sprintf("address=%q", a.login)) {
					t.Errorf("%s: after all attacks %q gets: %s", d.module, a.login, got)
				}
			}
		}
	}
}

// TestServerModes asks servers whose rules for literals are not the usual ones.
func TestServerModes(t *testing.T) {
	t.Parallel()
	const columns = "SELECT id, crypt, clear, uid, gid, home FROM passwd WHERE "
	all := accounts(t)
	my := harness.MariaDB(t, "127.0.6.12", "--sql-mode=NO_BACKSLASH_ESCAPES,ANSI_QUOTES")
	my.SQL(t, sqlTable(all, false))
	d := database{
		"authmysql", my, mysqlSettings(my).with(settings{"MYSQL_AUXOPTIONS_FIELD": "CONCAT('mailhost=',mailhost)"}),
		nil,
	}
	for name, s := range map[string]settings{
		"generated": {},
		"backslash is itself": {
			"MYSQL_SELECT_CLAUSE": columns + `'\\' <> '$(domain)' AND "id" = '$(local_part)@$(domain)'`,
		},
		"double": {"MYSQL_SELECT_CLAUSE": columns + `"id" = "$(local_part)@$(domain)"`},
		"gbk": {
			"MYSQL_CHARACTER_SET": "gbk",
			"MYSQL_SELECT_CLAUSE": columns + `"id" = '$(local_part)@$(domain)'`,
		},
	} {
		c, _, _ := d.start(t, d.base.with(s))
		for _, a := range all {
			if strings.HasPrefix(a.clear, "pass ") {
				if got := ask(c, question{"login", "imap", a.login, a.clear}); !strings.Contains(got,
					fmt.Sprintf("address=%q", a.login)) {
					t.Errorf("%s: %q: %s", name, a.login, got)
				}
			}
		}
		attack(t, c, false)
	}
}
