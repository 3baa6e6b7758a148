package db

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// policy is a password policy (OpenLDAP's overlay) and accounts that it stops.
const policy = `dn: cn=policy,dc=example,dc=com
objectClass: device
objectClass: pwdPolicy
cn: policy
pwdAttribute: userPassword
pwdMaxAge: 86400
pwdLockout: TRUE
pwdMustChange: TRUE

`

// stopped returns an account with operational attributes.
func stopped(name, attributes string) string {
	return "dn: uid=" + name + ",ou=people,dc=example,dc=com\nobjectClass: account\nobjectClass: mailAccount\n" +
		"uid: " + name + "\nmail: " + name + "@example.com\nuidNumber: 7\ngidNumber: 7\nhomeDirectory: /h\n" +
		"userPassword: right\n" + attributes + "\n"
}

// TestPasswordPolicy: an expired password and a locked account are told from a wrong password, to the client
// and in the log, and by authdaemond test.
func TestPasswordPolicy(t *testing.T) {
	t.Parallel()
	dir := directory(t, "127.0.18.1", nil, harness.LDAPOptions{
		Global: "moduleload ppolicy",
		Config: "overlay ppolicy\nppolicy_default cn=policy,dc=example,dc=com\nppolicy_use_lockout\n" +
			"access to attrs=userPassword by anonymous auth by * none\naccess to * by * read",
		LDIF: policy + stopped("expired", "pwdChangedTime: 20200101000000Z\n") +
			stopped("locked", "pwdAccountLockedTime: 000001010000Z\n") + stopped("fine", ""),
	})
	d := database{"authldap", dir, ldapSettings(dir), nil}
	c, p, directory := d.start(t, d.base.with(settings{"LDAP_AUTHBIND": "yes", "LDAP_CLEARPW": "",
		"LDAP_CRYPTPW": "", "LDAP_INITBIND": "off", "LDAP_BINDDN": "", "LDAP_BINDPW": ""}))
	for _, test := range []struct {
		user, password string
		kind           error // nil = logs in
		line           string
	}{
		{"fine", "right", nil, ""},
		{"fine", "wrong", authlib.ErrRefused, ""},
		{"expired", "wrong", authlib.ErrRefused, ""},
		{"expired", "right", authlib.ErrExpired, "password or account expired: account \"expired@example.com\": " +
			"the password has expired: LDAP Result Code 49 "},
		{"locked", "right", authlib.ErrLocked, "account locked or disabled: account \"locked@example.com\": " +
			"the account is locked: LDAP Result Code 49 "},
		{"fine", "right", nil, ""},
	} {
		name := test.user + "@example.com"
		_, err := answer(t.Context(), c, question{"login", "imap", name, test.password})
		if !errors.Is(err, test.kind) {
			t.Errorf("%s %s: %v, want %v", test.user, test.password, err, test.kind)
		}
		told := errors.Is(err, authlib.ErrExpired) || errors.Is(err, authlib.ErrLocked)
		if test.kind == authlib.ErrRefused && told {
			t.Errorf("%s with a wrong password: %v", test.user, err)
		}
		if test.line == "" {
			continue
		}
		p.Log.WaitN(t, 1, "INFO: authldap: "+test.line)
		// What Courier's programs see is a refusal like any other.
		if got := change(t, c, name, test.password, "new one"); got != "refused" {
			t.Errorf("%s: change of password: %s", test.user, got)
		}
		cmd := exec.Command(harness.PlainBin(t, "authdaemond"), "-config", directory, "test", name, test.password)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "Authentication FAILED: "+test.line) {
			t.Errorf("authdaemond test: %v: %s", err, out)
		}
	}
	harness.EachFrontEnd(t, func(t *testing.T, m *harness.Mode) { toldStopped(t, m, directory) })
}

// toldStopped has the front ends tell clients of accounts that a policy stops.
func toldStopped(t *testing.T, m *harness.Mode, directory string) {
	t.Helper()
	const addr = "127.0.18.10"
	socket := filepath.Join(directory, "socket")
	p := m.Start(t, harness.ProxyOptions{Addr: addr, Env: harness.Env{"AUTHDAEMON_SOCKET": socket}})
	imap, pop3 := p.Log("IMAP"), p.Log("POP3")
	harness.Dialogue(t, addr+":143", "S~ \\* OK .*\n"+
		"C: a LOGIN expired@example.com right\nS: a NO [EXPIRED] The password has expired\n"+
		"C: b LOGIN locked@example.com right\nS~ b NO \\[CONTACTADMIN\\] .*\n"+
		"C: c LOGIN expired@example.com wrong\nS: c NO [AUTHENTICATIONFAILED] Login failed.\n")
	harness.Dialogue(t, addr+":110", "S~ \\+OK .*\n"+
		"C: USER expired@example.com\nS~ \\+OK .*\nC: PASS right\nS~ -ERR \\[AUTH\\] .*\n"+
		"C: USER locked@example.com\nS~ \\+OK .*\nC: PASS right\nS~ -ERR \\[SYS/PERM\\] .*\n")
	imap.WaitN(t, 1, `INFO: LOGIN DISABLED, user=expired@example.com, .*, protocol=IMAP, `+
		`reason=password or account expired$`)
	imap.WaitN(t, 1, `INFO: LOGIN DISABLED, user=locked@example.com, .*, reason=account locked or disabled$`)
	pop3.WaitN(t, 2, `INFO: LOGIN DISABLED, `)
	imap.WaitN(t, 1, `LOGIN FAILED`)
	if lines := pop3.Find(`LOGIN FAILED`); len(lines) > 0 {
		t.Errorf("a policy is a failed login: %q", lines)
	}
}

// TestInsufficientRights: a service account that may not see the accounts is an outage, not "no such user",
// and rights that do not suffice for a change of password are not a wrong password.
func TestInsufficientRights(t *testing.T) {
	t.Parallel()
	role := func(name string) string {
		return "dn: cn=" + name + ",dc=example,dc=com\nobjectClass: organizationalRole\n" +
			"objectClass: simpleSecurityObject\ncn: " + name + "\nuserPassword: read\n\n"
	}
	dir := directory(t, "127.0.18.2", accounts(t), harness.LDAPOptions{
		LDIF: role("blind") + role("short") + role("reader"),
		Config: `access to attrs=userPassword by anonymous auth by dn.exact="cn=reader,dc=example,dc=com" read
	by * none
access to * by dn.exact="cn=blind,dc=example,dc=com" none
	by dn.exact="cn=short,dc=example,dc=com" disclose by * read`})
	d := database{"authldap", dir, ldapSettings(dir), nil}
	as := func(name string) settings {
		return d.base.with(settings{"LDAP_BINDDN": "cn=" + name + ",dc=example,dc=com", "LDAP_BINDPW": "read",
			"LDAP_CLEARPW": ""})
	}
	c, p, directory := d.start(t, as("blind"))
	file := filepath.Join(directory, "authldaprc")
	const down = `ERR: authldap: cannot answer, [^:]*: search below "dc=example,dc=com": `
	want(t, c, login, "temporary failure")
	p.Log.WaitN(t, 1, down+`LDAP Result Code 32 "No Such Object"`)
	reload(t, as("short"), file)
	want(t, c, login, "temporary failure")
	p.Log.WaitN(t, 1, down+`LDAP Result Code 50 "Insufficient Access Rights"`) // the second mistake shows, too
	reload(t, d.base.with(settings{"LDAP_BASEDN": "dc=elsewhere"}), file)
	want(t, c, login, "temporary failure")
	p.Log.WaitN(t, 1, `ERR: authldap: cannot answer, .*search below "dc=elsewhere": `)
	reload(t, as("reader"), file)
	want(t, c, login, "address=")
	p.Log.WaitN(t, 1, `INFO: authldap: answers again after \d+ s, 3 requests failed`)
	if got := change(t, c, login.user, login.pw, "new one"); got != "temporary failure" {
		t.Errorf("change without the rights: %s", got)
	}
	p.Log.WaitN(t, 1, `ERR: authldap: cannot answer, .*: change of a password: LDAP Result Code 50 `)
	want(t, c, login, "address=")
	if got := change(t, c, login.user, "wrong", "new one"); got != "refused" {
		t.Errorf("change with a wrong password: %s", got)
	}
}

// TestUnwillingToPerform: a server that takes no changes is not a wrong password.
func TestUnwillingToPerform(t *testing.T) {
	t.Parallel()
	dir := directory(t, "127.0.18.3", accounts(t), harness.LDAPOptions{Config: "restrict modify"})
	d := database{"authldap", dir, ldapSettings(dir), nil}
	c, p, _ := d.start(t, d.base)
	want(t, c, login, "address=")
	if got := change(t, c, login.user, login.pw, "new one"); got != "temporary failure" {
		t.Errorf("change: %s", got)
	}
	p.Log.WaitN(t, 1, `ERR: authldap: cannot answer, .*: change of a password: LDAP Result Code 53 `)
	want(t, c, login, "address=")
}
