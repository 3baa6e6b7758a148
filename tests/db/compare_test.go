package db

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// salted tells hashes of a kind that Courier's daemon does not know.
func salted(q question, courier, ours string) string {
	if courier == "refused" && q.pw == "hash secret" && strings.HasPrefix(q.user, "hash-ssha") {
		return "Courier knows {SSHA} only, spec/auth.md section 4 asks for {SSHA256} and {SSHA512}"
	}
	return ""
}

// blank tells names that begin with a blank in PRE, whose line Courier splits at blanks.
func blank(q question, courier, ours string) string {
	if q.how == "pre" && strings.HasPrefix(q.user, " ") {
		return "Courier drops leading blanks of the name in PRE, but not in AUTH"
	}
	return ""
}

func first(list ...exceptions) exceptions {
	return func(q question, courier, ours string) string {
		for _, f := range list {
			if reason := f(q, courier, ours); reason != "" {
				return reason
			}
		}
		return ""
	}
}

// invalidIn tells names that are not valid in the connection's character set.
func invalidIn(set string) exceptions {
	if strings.ToLower(set) != "utf8" {
		return nil
	}
	return func(q question, courier, ours string) string {
		if !utf8.ValidString(q.user) && courier == "temporary failure" && ours == "refused" {
			return "nobody can have such a name: Courier takes the server's complaint for an outage"
		}
		return ""
	}
}

// root tells accounts that cannot be used for root's ids, for want of a home, or for a hash of a kind that
// nobody knows.
func root(q question, courier, ours string) string {
	for _, user := range []string{"uid0@", "gid0@", "nohome@"} {
		if strings.HasPrefix(q.user, user) && ours == "temporary failure" {
			return "Courier refuses such an account, or lets it in"
		}
	}
	if strings.HasPrefix(q.user, "unknown-scheme@") && courier == "refused" && ours == "temporary failure" {
		return "Courier takes a hash that it does not know for a wrong password"
	}
	return ""
}

// escaped tells addresses that Courier's LDAP module returns as they stand in the filter.
func escaped(q question, courier, ours string) string {
	r := strings.NewReplacer(`\\5c`, `\\`, `\\2a`, "*", `\\28`, "(", `\\29`, ")")
	if strings.ContainsAny(q.user, `\*()`) && r.Replace(courier) == ours {
		return "Courier returns the address filter-escaped (spec/auth.md section 5)"
	}
	return ""
}

// spelt tells names that we return as the database spells them.
func spelt(q question, courier, ours string) string {
	own := strings.ToLower(strings.TrimSpace(q.user))
	if own != q.user &&
		strings.Replace(courier, fmt.Sprintf("address=%q", q.user), fmt.Sprintf("address=%q", own), 1) == ours {
		return "Courier returns what was typed"
	}
	return ""
}

// scenario is a change to the settings with questions about it.
type scenario struct {
	name      string
	change    settings
	questions []question
	differ    exceptions
}

// run asks both daemons, after both have noticed the new file.
func (p *pair) run(t *testing.T, base settings, list []scenario) {
	for _, s := range list {
		t.Run(s.name, func(t *testing.T) {
			p.set(t, base.with(s.change))
			p.compare(t, s.questions, s.differ)
		})
	}
	p.set(t, base)
}

// some are questions about users with the same password.
func some(service, password string, users ...string) (list []question) {
	for _, user := range users {
		list = append(list, question{"login", service, user, password}, question{"login", service, user, "wrong"},
			question{"pre", service, user, ""}, question{"cram-md5", service, user, password})
	}
	return list
}

// odd are the names that would break out of a query or a filter.
func odd(all []account) (list []question) {
	for _, a := range all {
		if strings.HasPrefix(a.clear, "pass ") {
			list = append(list, question{"login", "imap", a.login, a.clear}, question{"pre", "imap", a.login, ""})
		}
	}
	return list
}

// sqlScenarios are those that MySQL and PostgreSQL have in common, with settings that begin with prefix.
func sqlScenarios(all []account, prefix string) []scenario {
	users := some("imap", "clear secret", "bare", "user", "user@", "user@default.org", "clear@example.com",
		"clear", "Jürgen@x")
	set := func(list ...string) settings {
		s := settings{}
		for i := 0; i < len(list); i += 2 {
			s[strings.Replace(list[i], "X_", prefix, 1)] = list[i+1]
		}
		return s
	}
	const columns = "SELECT id, crypt, clear, uid, gid, home, maildir, quota, name, mailhost FROM passwd WHERE "
	return []scenario{
		{"default domain", set("DEFAULT_DOMAIN", "default.org"), users, nil},
		{"where", set("X_WHERE_CLAUSE", "server='one'"), users, nil},
		{"where or", set("X_WHERE_CLAUSE", "server='two' OR server='one'"), users, nil},
		{"where nobody", set("X_WHERE_CLAUSE", "server='two'"), users, nil},
		{
			"crypt only", set("X_CLEAR_PWFIELD", ""),
			append(some("imap", "both secret", "both@example.com"), users...), nil,
		},
		{
			"clear only", set("X_CRYPT_PWFIELD", ""),
			append(some("imap", "other", "both@example.com", "locked@example.com"), users...), nil,
		},
		{
			"no optional fields",
			set("X_NAME_FIELD", "", "X_MAILDIR_FIELD", "", "X_QUOTA_FIELD", "", "X_AUXOPTIONS_FIELD", ""), users, nil,
		},
		{
			"expressions",
			set("X_UID_FIELD", "1000+7", "X_GID_FIELD", "gid+1", "X_HOME_FIELD", "CONCAT('/x', home)", "X_LOGIN_FIELD",
				"lower(id)"),
			append(some("imap", "clear secret", "Clear@example.com"), users...),
			nil,
		},
		{"no number", set("X_UID_FIELD", "home"), users, root0},
		{
			"delivery", set("X_DEFAULTDELIVERY", "quota"),
			append(some("courier", "clear secret", "clear@example.com"), users...), nil,
		},
		{
			"select", set("X_SELECT_CLAUSE", columns+"id = '$(local_part)@$(domain)'"), append(odd(all), users...),
			nil,
		},
		{
			"select, bound", set("X_SELECT_CLAUSE", columns+"id = CONCAT('$(local_part)', CONCAT('@', '$(domain)'))"),
			append(odd(all), users...), nil,
		},
		{
			"select, default domain",
			set("DEFAULT_DOMAIN", "default.org", "X_SELECT_CLAUSE", columns+"id = '$(local_part)@$(domain)'"), users,
			nil,
		},
		{
			"select, service",
			set("X_SELECT_CLAUSE", columns+"id = '$(local_part)@$(domain)' AND '$(service)' = 'imap'"),
			append(some("pop3", "clear secret", "clear@example.com"), users...), nil,
		},
		{
			"select, unknown and lone",
			set("X_SELECT_CLAUSE", columns+"id = '$(local_part)@$(domain)$(nobody)' AND '$' = '$'"), users, nil,
		},
		{
			"select, six columns",
			set("X_SELECT_CLAUSE",
				"SELECT id, crypt, clear, uid, gid, home FROM passwd WHERE id='$(local_part)@$(domain)'"),
			users,
			nil,
		},
		{
			"select, NULLs",
			set(
				"X_SELECT_CLAUSE",
				"SELECT id, NULL, clear, uid, gid, home, NULL, NULL, NULL, NULL FROM passwd WHERE "+
					"id='$(local_part)@$(domain)'",
			),
			users,
			nil,
		},
	}
}

// root0 tells uids that are no number.
func root0(q question, courier, ours string) string {
	if ours == "temporary failure" {
		return "Courier reads a uid that is no number as root's"
	}
	return ""
}

// sameList compares the enumerations of both daemons.
func (p *pair) sameList(t *testing.T) {
	t.Helper()
	list := func(c *authlib.Client) (lines []string) {
		err := c.Enumerate(t.Context(), func(a *authlib.Account) error {
			lines = append(lines,
				fmt.Sprintf("%s %d %d %s %s %s", a.Address, deref(a.UID), deref(a.GID), a.Home, a.Maildir, a.Options))
			return nil
		})
		if err != nil {
			t.Errorf("enumerate: %v", err)
		}
		slices.Sort(lines)
		return lines
	}
	courier := slices.DeleteFunc(list(p.courier), func(line string) bool {
		return strings.HasPrefix(line, "uid0@") || strings.HasPrefix(line, "gid0@") ||
			strings.HasPrefix(line, "nohome@") // nobody can log in there
	})
	if diff := cmp.Diff(courier, list(p.ours)); diff != "" || len(courier) == 0 {
		t.Errorf("enumerations of %d accounts differ (-Courier +ours):\n%s", len(courier), diff)
	}
}

func deref(n *uint32) uint32 {
	if n == nil {
		return 0
	}
	return *n
}

func TestPostgres(t *testing.T) {
	all := accounts(t)
	d := harness.Postgres(t, "127.0.2.1")
	d.SQL(t, sqlTable(all, false))
	s := pgsqlSettings(d)
	p := newPair(t, "authpgsql", s, nil)
	t.Run("accounts", func(t *testing.T) { p.compare(t, questionsFor(all), first(salted, blank, root)) })
	t.Run("enumerate", p.sameList)
	list := sqlScenarios(all, "PGSQL_")
	for _, set := range []string{"UTF8", "LATIN1", "GBK"} {
		names := append(
			some("imap", "sécret", "Jürgen.Müller@exämple.com", "J\xfcrgen.M\xfcller@ex\xe4mple.com"),
			some("imap", "秘密", "日本@example.com")...)
		list = append(
			list,
			scenario{
				"character set " + set, settings{"PGSQL_CHARACTER_SET": set}, append(odd(all), names...), invalidIn(set),
			},
		)
	}
	p.run(t, s, list)
}

func TestMariaDB(t *testing.T) {
	all := accounts(t)
	d := harness.MariaDB(t, "127.0.2.2")
	d.SQL(t, sqlTable(all, true))
	s := mysqlSettings(d)
	p := newPair(t, "authmysql", s, nil)
	t.Run("accounts", func(t *testing.T) { p.compare(t, questionsFor(all), first(salted, blank, root)) })
	t.Run("enumerate", p.sameList)
	list := sqlScenarios(all, "MYSQL_")
	for _, set := range []string{"utf8", "utf8mb4", "latin1", "gbk"} {
		names := append(
			some("imap", "sécret", "Jürgen.Müller@exämple.com", "J\xfcrgen.M\xfcller@ex\xe4mple.com"),
			some("imap", "秘密", "日本@example.com")...)
		list = append(
			list,
			scenario{
				"character set " + set, settings{"MYSQL_CHARACTER_SET": set}, append(odd(all), names...), invalidIn(set),
			},
			scenario{
				"select, character set " + set,
				settings{
					"MYSQL_CHARACTER_SET": set,
					"MYSQL_SELECT_CLAUSE": "SELECT id, crypt, clear, uid, gid, home FROM passwd " +
						"WHERE id='$(local_part)@$(domain)'",
				},
				append(odd(all), names...),
				invalidIn(set),
			},
		)
	}
	for i := range list {
		if list[i].name == "delivery" {
			list[i].differ = func(q question, courier, ours string) string {
				if q.service == "courier" && strings.Replace(ours, `maildir="1000S"`, `maildir=""`, 1) == courier {
					return "Courier's MySQL module loses MYSQL_DEFAULTDELIVERY, its PostgreSQL module does not lose " +
						"PGSQL_DEFAULTDELIVERY"
				}
				return ""
			}
		}
	}
	p.run(t, s, list)
}

func TestOpenLDAP(t *testing.T) {
	all := accounts(t)
	d := directory(t, "127.0.2.3", all, harness.LDAPOptions{LDIF: emailmap})
	s := ldapSettings(d)
	p := newPair(t, "authldap", s, nil)
	t.Run("accounts",
		func(t *testing.T) { p.compare(t, questionsFor(all), first(salted, blank, root, escaped, spelt)) })
	t.Run("enumerate", p.sameList)
	p.run(t, s, ldapScenarios(all))
}

// emailmap maps two addresses to handles.
const emailmap = `dn: o=emailmap,dc=example,dc=com
objectClass: organization
o: emailmap

dn: uid=m1,o=emailmap,dc=example,dc=com
objectClass: account
objectClass: mailAccount
uid: john
mail: john
handle: clear@example.com
quota: realm.example

dn: uid=m2,o=emailmap,dc=example,dc=com
objectClass: account
objectClass: mailAccount
uid: o(dd)*
mail: odd
handle: st*r@example.com
quota: realm.example

`

func ldapScenarios(all []account) []scenario {
	users := some("imap", "clear secret", "bare", "user", "user@", "user@default.org", "clear@example.com",
		"clear", "nopassword@example.com", "*", "*@example.com")
	mapped := settings{
		"LDAP_EMAILMAP":        "(&(uid=@user@)(quota=@realm@))",
		"LDAP_EMAILMAP_BASEDN": "o=emailmap,dc=example,dc=com", "LDAP_EMAILMAP_ATTRIBUTE": "handle",
		"LDAP_EMAILMAP_MAIL": "mail",
	}
	return []scenario{
		{"filter", settings{"LDAP_FILTER": "(objectClass=mailAccount)"}, users, nil},
		{"filter nobody", settings{"LDAP_FILTER": "(mailhost=nowhere)"}, users, nil},
		{
			"filter and", settings{"LDAP_FILTER": "(&(objectClass=mailAccount)(|(mailhost=127.0.0.9)(uid=*)))"},
			append(odd(all), users...), escaped,
		},
		{"domain", settings{"LDAP_DOMAIN": "default.org"}, users, nil},
		{"mailroot", settings{"LDAP_MAILROOT": "/srv"}, users, nil},
		{
			"global ids",
			settings{"LDAP_GLOB_UID": "4711", "LDAP_GLOB_GID": "4712", "LDAP_UID": "", "LDAP_GID": ""},
			users,
			func(q question, courier, ours string) string {
				if strings.Contains(courier, "uid=4711 gid=4711") && strings.Contains(ours, "uid=4711 gid=4712") {
					return "Courier reads LDAP_GLOB_UID for the gid, too (spec/auth.md section 5)"
				}
				return ""
			},
		},
		{
			"global names", settings{"LDAP_GLOB_UID": "mail", "LDAP_GLOB_GID": "mail", "LDAP_UID": "", "LDAP_GID": ""},
			users, nil,
		},
		{"global and own ids", settings{"LDAP_GLOB_UID": "4711", "LDAP_GLOB_GID": "4712"}, users, nil},
		{"options", settings{"LDAP_AUXOPTIONS": "mailhost=mailhost,quota=q,description=none,uid=uid"}, users, nil},
		{
			"delivery", settings{"LDAP_DEFAULTDELIVERY": "quota"},
			append(some("courier", "clear secret", "clear@example.com"), users...), nil,
		},
		{
			"no clear", settings{"LDAP_CLEARPW": ""},
			append(some("imap", "both secret", "both@example.com"), users...), nil,
		},
		{
			"no crypt", settings{"LDAP_CRYPTPW": ""}, append(some("imap", "other", "both@example.com"), users...), nil,
		},
		{"bind", settings{"LDAP_AUTHBIND": "1", "LDAP_CLEARPW": ""},
			append(
				some("imap", "both secret", "both@example.com", "bench@example.com", "hash-ssha@example.com"),
				users...), nil},
		{
			"bind, clear password", settings{"LDAP_AUTHBIND": "1"},
			some("imap", "both secret", "both@example.com", "bench@example.com"), bound,
		},
		{"bind, no initial bind", settings{"LDAP_AUTHBIND": "1", "LDAP_CLEARPW": "", "LDAP_INITBIND": ""},
			append(some("imap", "both secret", "both@example.com", "bench@example.com"), users...), nil},
		{
			"emailmap",
			mapped,
			append(some("imap", "clear secret", "john@realm.example", "john@other", "john", "@realm.example"),
				some("imap", "pass st*r", "o(dd)*@realm.example")...),
			handles,
		},
	}
}

// bound tells answers after a bind.
func bound(q question, courier, ours string) string {
	if q.how == "login" &&
		strings.Replace(ours, fmt.Sprintf("passwd2=%q", q.pw), `passwd2="other"`, 1) == courier {
		return "Courier returns an attribute, not the password that was just checked (spec/auth.md section 5)"
	}
	return ""
}

// handles tells what goes wrong with a handle's characters.
func handles(q question, courier, ours string) string {
	switch {
	case strings.HasPrefix(q.user, "o(dd)*"):
		return "Courier puts the handle into the second filter as it is, and returns the address filter-escaped " +
			"(spec/auth.md section 5)"
	case !strings.Contains(q.user, "@") && courier == "temporary failure" && ours == "refused":
		return "Courier takes a name without a realm for an outage"
	}
	return ""
}
