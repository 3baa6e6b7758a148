package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/maillog"
)

// TestMisspelt: no setting of the samples, those that are commented out among them, is taken for a misspelt
// one, and a misspelt one is named with its line.
func TestMisspelt(t *testing.T) {
	commented := regexp.MustCompile(`(?m)^# ((MYSQL|PGSQL|LDAP|DEFAULT)_[A-Z_]+[ \t])`)
	for _, module := range []string{"authmysql", "authpgsql", "authldap"} {
		sample, err := os.ReadFile("../../etc/" + module + "rc")
		if err != nil {
			t.Fatal(err)
		}
		text := commented.ReplaceAllString(string(sample), "$1")
		if text == string(sample) {
			t.Fatalf("%s: nothing is commented out", module)
		}
		count := strings.Count(text, "\n")
		prefix := strings.ToUpper(strings.TrimPrefix(module, "auth")) + "_"
		text += prefix + "TIMEOT 3\n" + prefix + "PORTT 4\n" + prefix + "CRYPTWP x\n"
		dir := directory(t, map[string]string{module + "rc": text})
		log := new(lines)
		s, err := parseRC("rc", "authmodulelist="+module)
		if err != nil {
			t.Fatal(err)
		}
		a := newAsker(s, setup{directory: dir, conns: 1, log: maillog.NewLog(log)}, nil, time.Now)
		a.close(nil)
		for line := range strings.Lines(log.String()) {
			if !strings.Contains(line, "meant?") {
				continue
			}
			var number int
			where := filepath.Join(dir, module+"rc")
			if _, err := fmt.Sscanf(line, "WARN: "+module+": "+where+":%d:", &number); err != nil || number <= count {
				t.Errorf("%s, %v", line, err)
			}
		}
		if !strings.Contains(log.String(), "is not a setting: is "+prefix) {
			t.Errorf("%s: no misspelt name in the log:\n%s", module, log)
		}
	}
}

// TestUnknownModule: the log lists the modules there are.
func TestUnknownModule(t *testing.T) {
	const all = "no such module, there are authldap, authmysql, authpgsql, authuserdb"
	for name, want := range map[string]string{
		"authpam":   all,
		"authmysq":  all + ": is authmysql meant?",
		"AUTHLDAP":  all + ": is authldap meant?",
		"authuserb": all + ": is authuserdb meant?",
	} {
		log := new(lines)
		m := openModule(name, setup{log: maillog.NewLog(log)})
		_, err := m.Lookup(t.Context(), &authlib.LookupRequest{User: "ann"})
		if err == nil || errors.Is(err, authlib.ErrRefused) || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		if !strings.HasPrefix(log.String(), "ERR: "+name+": "+want+"; ") {
			t.Errorf("%s: log %s", name, log)
		}
	}
}

// TestNamedOnce: each line about a module that cannot answer has its name once, in the log and on the
// terminal.
func TestNamedOnce(t *testing.T) {
	sample := func(file, old, replacement string) string {
		text, err := os.ReadFile("../../etc/" + file)
		if err != nil || !strings.Contains(string(text), old) {
			t.Fatalf("%s: %v, or no %q", file, err, old)
		}
		return strings.ReplaceAll(string(text), old, replacement)
	}
	const marker = "##NAME: MARKER:0\n"
	for _, test := range []struct{ module, file, text string }{
		{"authmysql", "authmysqlrc", marker + "MYSQL_SOCKT x\n"},
		{"authmysql", "authmysqlrc",
			sample("authmysqlrc", "\nMYSQL_SERVER\t", "\nMYSQL_SSL_CIPHER none\nMYSQL_SOCKET /none\nMYSQL_SERVER ")},
		{"authpgsql", "authpgsqlrc", ""},
		{"authpgsql", "authpgsqlrc", sample("authpgsqlrc", "host=/run/postgresql", "host=/none")},
		{"authldap", "authldaprc", marker + "LDAP_URL x\n"},
		{"authldap", "authldaprc",
			marker + "LDAP_URI ldapi://%2Fnone\nLDAP_BASEDN o=x\nLDAP_MAIL m\nLDAP_PROTOCOL_VERSION 2\n"},
		{"authuserdb", "userdb.dat", "x"},
		{"authuserdb", "userdb", "ann\tuid=x|gid=x\n"},
		{"authuserdb", "other", ""},
		{"authnone", "other", ""},
	} {
		config := map[string]string{"authdaemonrc": "authmodulelist=" + test.module + "\nDEBUG_LOGIN=1\n",
			test.file: test.text}
		dir := directory(t, config)
		s, err := readRC(dir)
		if err != nil {
			t.Fatal(err)
		}
		log := new(lines)
		a := newAsker(s, setup{directory: dir, conns: 1, log: maillog.NewLog(log)}, nil, time.Now)
		_, _, _ = a.lookup(t.Context(), &authlib.LookupRequest{Service: "imap", User: "ann"})
		_, _ = a.changePassword(t.Context(), &authlib.PasswordRequest{Service: "imap", User: "ann"})
		_ = a.enumerate(t.Context(), func(string) error { return nil }, func(*authlib.Account) error { return nil })
		a.close(nil)
		said := log.String()
		for _, command := range []string{"test ann", "test ann old new", "enumerate"} {
			_, _, stderr := call(t, append([]string{"-config", dir}, strings.Fields(command)...)...)
			said += stderr
		}
		named := 0
		for line := range strings.Lines(said) {
			n := strings.Count(line, test.module+": ") + strings.Count(line, ": userdb: ")
			if named += n; n > 1 || strings.Contains(line, ": : ") {
				t.Errorf("%s", line)
			}
		}
		if named == 0 {
			t.Errorf("%s, %s: no line names it:\n%s", test.module, test.file, said)
		}
	}
}

// TestOutageReasons: a module that is down has a line for each reason, and one when it answers again.
func TestOutageReasons(t *testing.T) {
	var down error
	a, log := fakeAsker(t, "",
		&fake{name: "a", users: []string{"ann"}, do: func(context.Context, string) error { return down }})
	now := time.Now()
	a.now = func() time.Time { return now }
	ask := func(err error) {
		t.Helper()
		down = err
		_, _, got := a.lookup(t.Context(), &authlib.LookupRequest{Service: "imap", User: "ann"})
		if (got == nil) != (err == nil) {
			t.Errorf("%v: %v", err, got)
		}
		now = now.Add(time.Second)
	}
	const head = "ERR: a: cannot answer, clients are told to come back later: "
	for i := range 3 {
		ask(fmt.Errorf("dial 127.0.0.1:3306 from port %d: refused", 40000+i))
		ask(errors.New("password of user mail is wrong"))
		ask(errors.New("no such table"))
	}
	ask(nil)
	want := head + "dial 127.0.0.1:3306 from port 40000: refused\n" + head + "password of user mail is wrong\n" +
		head + "no such table\n" + "INFO: a: answers again after 9 s, 9 requests failed\n"
	if log.String() != want {
		t.Errorf("%s\nwant %s", log, want)
	}
	// Many reasons at once are bounded, and a new one is told after a minute.
	before := strings.Count(log.String(), "ERR:")
	for i := range 100 {
		ask(errors.New("text " + strings.Repeat("x", i)))
		now = now.Add(-time.Second)
	}
	if n := strings.Count(log.String(), "ERR:") - before; n != maxReasons {
		t.Errorf("%d lines", n)
	}
	now = now.Add(reasonPause)
	ask(errors.New("at last"))
	if !strings.Contains(log.String(), head+"at last\n") {
		t.Errorf("not told after a minute: %s", log)
	}
}

// TestOptionsOfAccounts: what is not understood of an account's options is in the log, and opens no door.
func TestOptionsOfAccounts(t *testing.T) {
	for _, test := range []struct{ own, answer, line string }{
		{"mailhost = a , disableimap = Yes", "mailhost=a,disableimap=1,d=1", ""},
		{"disablepop3", "disablepop3=1,d=1", ""},
		{"d = 2", "d=2", ""},
		{"mailhost=a,b", "mailhost=a,b,d=1",
			`WARN: a: account "ann": option "b" has no value: blanks or semicolons separate mailhosts`},
		{"shared,x=1", "shared,x=1,d=1", `WARN: a: account "ann": option "shared" has no value`},
		{"disableimap=maybe", "temporary", `WARN: a: account "ann" cannot be used: option disableimap="maybe": ` +
			`must be yes, no, true, false, on, off, 1 or 0`},
	} {
		a, log := fakeAsker(t, "DEFAULTOPTIONS=d=1", &fake{name: "a", users: []string{"ann"}, options: test.own})
		for range 2 {
			answer := "temporary"
			account, _, err := a.lookup(t.Context(), &authlib.LookupRequest{Service: "imap", User: "ann"})
			if err == nil {
				answer = string(account.Options)
			}
			if answer != test.answer || errors.Is(err, authlib.ErrRefused) {
				t.Errorf("%s: %s, %v", test.own, answer, err)
			}
		}
		if got := strings.TrimSuffix(log.String(), "\n"); got != test.line {
			t.Errorf("%s: log %q, want %q", test.own, got, test.line)
		}
	}
}

// TestRefusedFor: the first module that says why it refuses is told to the client, unless another takes the
// login.
func TestRefusedFor(t *testing.T) {
	says := func(err error) func(context.Context, string) error {
		return func(_ context.Context, user string) error {
			if user == "ann" {
				return fmt.Errorf("%w: account %q: data 532", err, user)
			}
			return nil
		}
	}
	expired := &fake{name: "a", users: []string{"ann"}, do: says(authlib.ErrExpired)}
	locked := &fake{name: "b", users: []string{"ann"}, do: says(authlib.ErrLocked)}
	works := &fake{name: "c", users: []string{"ann"}}
	noSecret := &fake{name: "d", users: []string{"ann"}, do: says(authlib.ErrNoSecret)}
	for want, fakes := range map[string][]*fake{
		"REFUSED=EXPIRED\nFAIL\n":      {{name: "x"}, expired, locked},
		"REFUSED=CONTACTADMIN\nFAIL\n": {locked, expired},
		"FAIL\n":                       {noSecret, {name: "x"}}, // which may have found a proof wrong
		"REFUSED=CANNOT\nFAIL\n":       {noSecret},
		"UID=1\nGID=1\nHOME=/c\nADDRESS=ann\nPASSWD2=ann\nOPTIONS=own=1\n.\n": {locked, works},
	} {
		a, log := fakeAsker(t, "", fakes...)
		req := &authlib.AuthRequest{Service: "imap", Type: authlib.AuthLogin, User: "ann", Password: "ann"}
		got, err := a.answer(t.Context(), req, nil)
		if err != nil || string(got) != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
		if len(fakes) > 1 && !strings.Contains(log.String(), `: account "ann": data 532`) {
			t.Errorf("%q: log %s", want, log)
		}
		got, err = a.answer(t.Context(), &authlib.PasswordRequest{Service: "imap", User: "bob"}, nil)
		if err != nil || string(got) != authlib.AnswerFail {
			t.Errorf("PASSWD: %q, %v", got, err)
		}
	}
}

// TestNobodyAsked: a refusal comes of a module that has looked. Where none has a database, or there is no
// module, it is a temporary failure that is in the log once, whatever was asked.
func TestNobodyAsked(t *testing.T) {
	has := true
	absent := &fake{name: "a", do: func(context.Context, string) error {
		if has {
			return nil
		}
		return fmt.Errorf("/etc/a: no such file: %w", authlib.ErrNoDatabase)
	}, users: []string{"eve"}}
	working := &fake{name: "b", users: []string{"ann"}}
	const head = "ERR: a: cannot answer, clients are told to come back later: " +
		"/etc/a: no such file: no database\n"
	for _, test := range []struct {
		fakes          []*fake
		ann, eve, list string
		log            string
	}{
		{[]*fake{absent, working}, "ok", "refused", "ok", ""},
		{[]*fake{working, absent}, "ok", "refused", "ok", ""},
		{[]*fake{absent}, "temporary", "temporary", "temporary", head},
		{nil, "temporary", "temporary", "ok", "ERR: authmodulelist names no module: nobody can log in\n"},
	} {
		a, log := fakeAsker(t, "", test.fakes...)
		result := func(err error) string {
			switch {
			case err == nil:
				return "ok"
			case errors.Is(err, authlib.ErrRefused):
				return "refused"
			}
			return "temporary"
		}
		has = false
		for user, want := range map[string]string{"ann": test.ann, "eve": test.eve} {
			_, _, auth := a.authenticate(t.Context(), &authlib.AuthRequest{Service: "imap", Type: authlib.AuthLogin,
				User: user, Password: user})
			_, _, look := a.lookup(t.Context(), &authlib.LookupRequest{Service: "imap", User: user})
			_, change := a.changePassword(t.Context(), &authlib.PasswordRequest{Service: "imap", User: user})
			for what, err := range map[string]error{"AUTH": auth, "PRE": look, "PASSWD": change} {
				if got := result(err); got != want {
					t.Errorf("%d modules, %s %s: %s, %v; want %s", len(test.fakes), what, user, got, err, want)
				}
			}
		}
		list := a.enumerate(t.Context(), func(string) error { return nil },
			func(*authlib.Account) error { return nil })
		if got := result(list); got != test.list {
			t.Errorf("%d modules, ENUMERATE: %s, %v", len(test.fakes), got, list)
		}
		said := regexp.MustCompile(`(?m)^INFO: .*\n`).ReplaceAllString(log.String(), "")
		if said != test.log {
			t.Errorf("%d modules: log %q, want %q", len(test.fakes), said, test.log)
		}
		if _, _, err := a.lookup(t.Context(), &authlib.LookupRequest{Service: "imap", User: "ann",
			Module: "z"}); !errors.Is(err, authlib.ErrRefused) {
			t.Errorf("PRE of a module that is not asked: %v", err)
		}
		if has = true; len(test.fakes) == 1 {
			_, _, err := a.lookup(t.Context(), &authlib.LookupRequest{Service: "imap", User: "eve"})
			if err != nil || !strings.Contains(log.String(), "INFO: a: answers again after ") {
				t.Errorf("a database that has come: %v, log %s", err, log)
			}
		}
	}
}

// TestOthersGoOn: a module that does not answer holds up its own accounts, not those of a module before it.
func TestOthersGoOn(t *testing.T) {
	var silent atomic.Bool
	silent.Store(true)
	release := make(chan struct{})
	var inside atomic.Int64
	a, log := fakeAsker(t, "daemons=1",
		&fake{name: "a", users: []string{"ann"}},
		&fake{name: "b", users: []string{"bob"}, do: func(ctx context.Context, user string) error {
			switch {
			case user == "first":
				return errors.New("timeout")
			case silent.Load():
				inside.Add(1)
				<-release
			}
			return nil
		}})
	now := time.Now()
	a.now = func() time.Time { return now } // the log says for how long a module was down
	s := start(t, a, nil)
	if got := s.login("first", "x"); got != "temporary" {
		t.Fatalf("got %s", got)
	}
	const more = 100
	answers := make(chan string, more)
	for range more {
		go func() { answers <- s.login("bob", "bob") }()
	}
	const waiting = slotsPerDaemon / 2
	for range more - waiting {
		if got := <-answers; got != "temporary" {
			t.Errorf("got %s", got)
		}
	}
	for range 20 {
		if got := s.login("ann", "ann"); got != "/a own=1" {
			t.Fatal(got)
		}
	}
	if n := inside.Load(); n != waiting {
		t.Errorf("%d wait for a module that does not answer, want %d", n, waiting)
	}
	silent.Store(false)
	close(release)
	for range waiting {
		if got := <-answers; got != "/b own=1" {
			t.Errorf("got %s", got)
		}
	}
	if got := s.login("bob", "bob"); got != "/b own=1" {
		t.Errorf("got %s", got)
	}
	log.has(t, "ERR: b: cannot answer, clients are told to come back later: timeout\n")
	log.has(t, fmt.Sprintf("INFO: b: answers again after 0 s, %d requests failed\n", 1+more-waiting))
	if strings.Count(log.String(), "ERR") != 1 {
		t.Errorf("more than one line:\n%s", log)
	}
}
