package db

import (
	"fmt"
	"path/filepath"
	"regexp"
	"testing"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// refusedLogin is a login that the front ends refuse.
type refusedLogin struct {
	user, password string
	bannable       bool // name or password are wrong: fail2ban counts it; otherwise the account cannot be used
}

// TestBannable: the front ends tell a client of an account that cannot be used to come again later, and
// write no LOGIN FAILED, the line that fail2ban counts; a wrong password, a name that nobody has and a locked
// account are a failed login. Whatever database the account is in.
func TestBannable(t *testing.T) {
	t.Parallel()
	common := []refusedLogin{
		{"fine@example.com", "wrong", true}, {"nobody@example.com", oddPassword, true},
	}
	for i, u := range unusable {
		common = append(common, refusedLogin{oddName(i), oddPassword, u.line == locked})
	}
	own := map[string][]refusedLogin{
		"authpgsql": {{"twin", "a", false}},
		"authmysql": {{"twin", "a", false}},
		"authldap":  {{"twin@example.com", oddPassword, false}, {"comma@example.com", oddPassword, false}},
	}
	for i, d := range oddDatabases(t, "127.0.19") {
		t.Run(d.module, func(t *testing.T) {
			c, _, directory := d.start(t, d.base)
			refuseLogins(t, c, directory, fmt.Sprintf("127.0.19.%d", 10+i), append(own[d.module], common...))
		})
	}
	t.Run("authuserdb", func(t *testing.T) {
		c, _, directory := oddUserdb(t)
		blanks := refusedLogin{"blanks@example.com", oddPassword, false}
		refuseLogins(t, c, directory, "127.0.19.20", append([]refusedLogin{blanks}, common...))
	})
}

// refuseLogins tries the logins through front ends on addr that ask the daemon in directory: a process for
// each connection by Courier's words, a resident one on the second socket, which tells a refusal from a
// failure.
func refuseLogins(t *testing.T, c *authlib.Client, directory, addr string, list []refusedLogin) {
	t.Helper()
	// The account whose wrong password is tried is there.
	want(t, c, question{"login", "imap", "fine@example.com", oddPassword}, `home="/h"`)
	harness.EachFrontEnd(t, func(t *testing.T, m *harness.Mode) {
		p := m.Start(t, harness.ProxyOptions{Addr: addr,
			Env: harness.Env{"AUTHDAEMON_SOCKET": filepath.Join(directory, "socket")}})
		refuseEach(t, p, addr, list)
	})
}

func refuseEach(t *testing.T, proxy *harness.Proxy, addr string, list []refusedLogin) {
	t.Helper()
	for _, p := range []struct {
		log            *harness.Log
		port, login    string // login is what the client says, with name and password
		answer         string // with the code
		later, refused string // the codes
	}{
		{proxy.Log("IMAP"), ":143",
			"C: a LOGIN %s \"%s\"\n", "a NO [%s] ", "UNAVAILABLE", "AUTHENTICATIONFAILED"},
		{proxy.Log("POP3"), ":110",
			"C: USER %s\nS~ \\+OK .*\nC: PASS %s\n", "-ERR [%s] ", "SYS/TEMP", "AUTH"},
	} {
		for n, l := range list {
			code, failed := p.later, 0
			if l.bannable {
				code, failed = p.refused, 1
			}
			answer := regexp.QuoteMeta(fmt.Sprintf(p.answer, code))
			harness.Dialogue(t, addr+p.port, "S~ (\\* |\\+)OK .*\n"+fmt.Sprintf(p.login, l.user, l.password)+
				"S~ "+answer+".*\n")
			// Either line is written, so that the absence of one is known.
			p.log.WaitN(t, n+1, `INFO: LOGIN FAILED, |WARN: authentication error, `)
			p.log.WaitN(t, failed, `LOGIN FAILED, user=`+regexp.QuoteMeta(l.user)+`,`)
		}
	}
}
