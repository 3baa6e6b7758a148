package login

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/sasl"
	"mailproxy/tests/clock"
	"mailproxy/tests/logintest"
)

// holdWorld is a world where time passes by what is slept, and whose clock is set forward and back every
// time. each is called after each second.
func holdWorld(t *testing.T, each func(w *world, second int), settings ...string) *world {
	w := newWorld(t, imap, append([]string{"IMAP_PROXY=1", "LOGIN_FAIL_DELAY=0"}, settings...)...)
	var c clock.Clock
	step, second := time.Hour, 0
	w.service.System.Now = c.Now
	w.service.System.Sleep = func(_ context.Context, d time.Duration) {
		c.Pass(d)
		c.Set(step)
		step = -2 * step % (48 * time.Hour)
		if d > 0 && each != nil {
			second++
			each(w, second)
		}
	}
	w.Started = c.Now()
	w.auth.Add("bob", "mailhost=old,hold=30")
	w.Hosts["old"], w.Hosts["new"] = []string{"127.0.0.2"}, []string{"127.0.0.3"}
	w.Servers["127.0.0.2:143"], w.Servers["127.0.0.3:143"] = logintest.Says(nil), logintest.Says(nil)
	return w
}

// A login waits while its account is held, and goes to where the account is then.
func TestHold(t *testing.T) {
	const ask, look = "login imap bob secret  ::ffff:192.0.2.7", "lookup imap bob ::ffff:192.0.2.7"
	const held = "INFO: LOGIN HELD, user=bob, " + from + ", protocol=IMAP, hold=30"
	still := func(why string) string {
		return "INFO: LOGIN REFUSED, user=bob, " + from + ", protocol=IMAP: the account is held: " + why
	}
	inUse := &DeniedError{Code: "INUSE"}
	release := func(second int, change func(*world)) func(*world, int) {
		return func(w *world, n int) {
			if n == second {
				change(w)
			}
		}
	}
	moved := func(w *world) { w.auth.Accounts["bob"].Options = "mailhost=new" }
	times := func(n int) []string { return slices.Repeat([]string{look}, n) }
	for _, test := range []struct {
		name     string
		settings []string
		options  string
		each     func(*world, int)
		c        *Credentials
		want     error
		asked    []string
		dialed   string
		held     time.Duration
		log      []string
	}{
		{"released", nil, "", release(3, moved), nil, nil, slices.Concat([]string{ask}, times(3), []string{ask}),
			"127.0.0.3:143", 3 * time.Second,
			[]string{held, "INFO: LOGIN RELEASED, user=bob, " + from + ", protocol=IMAP, held=3"}},
		{"never released", nil, "", nil, nil, inUse, append([]string{ask}, times(30)...), "", 30 * time.Second,
			[]string{held, still("for longer than hold=30")}},
		{"the password is another one then", nil, "",
			release(1, func(w *world) { moved(w); w.auth.Accounts["bob"].ClearPassword = "x" }), nil, ErrRefused,
			[]string{ask, look, ask, look}, "", time.Second, []string{held, "INFO: LOGIN FAILED, user=bob, " + from}},
		{"no longer there", nil, "", release(2, func(w *world) { delete(w.auth.Accounts, "bob") }), nil, ErrRefused,
			[]string{ask, look, look, ask, look}, "", 2 * time.Second,
			[]string{held, "INFO: LOGIN FAILED, user=bob, " + from}},
		{"disabled then", nil, "", release(1, func(w *world) { w.auth.Accounts["bob"].Options = "disableimap=1" }),
			nil, &DeniedError{Code: "CONTACTADMIN"}, []string{ask, look, ask}, "", time.Second,
			[]string{held, "INFO: LOGIN DISABLED, user=bob, " + from + ", protocol=IMAP, option=disableimap"}},
		{"the client hangs up", nil, "", release(2, func(w *world) { w.Gone = func() bool { return true } }), nil,
			errGone, []string{ask, look}, "", 2 * time.Second, []string{held}},
		{"a wrong password", nil, "", nil, password("bob", "x"), ErrRefused,
			[]string{"login imap bob x  ::ffff:192.0.2.7", look}, "", 0,
			[]string{"INFO: LOGIN FAILED, user=bob, " + from}},
		{"the database is away", nil, "", func(w *world, n int) {
			if w.auth.Err = errors.New("down"); n == 3 {
				w.auth.Err = nil
				moved(w)
			}
		}, nil, nil, slices.Concat([]string{ask}, times(3), []string{ask}), "127.0.0.3:143", 3 * time.Second,
			[]string{held, "WARN: authentication error, " + from + ": down",
				"INFO: LOGIN RELEASED, user=bob, " + from + ", protocol=IMAP, held=3"}},
		{"no place", []string{"HOLD_MAX=0"}, "", nil, nil, inUse, []string{ask}, "", 0,
			[]string{still("HOLD_MAX=0 logins wait already")}},
		{"the mailhost verifies", nil, "mailhost=old,hold=30,verify=mailhost", nil, password("bob", "x"), inUse,
			[]string{"login imap bob x  ::ffff:192.0.2.7", look, look}, "", 0,
			[]string{still("the login is not verified here, so it does not wait")}},
		{"a token", nil, "", nil,
			bySASL(sasl.Credentials{Mechanism: "OAUTHBEARER", User: "bob", Token: "x"}), inUse,
			[]string{look, look}, "", 0, []string{still("the login is not verified here, so it does not wait")}},
		{"not held", nil, "mailhost=old,hold=0", nil, nil, nil, []string{ask}, "127.0.0.2:143", 0, nil},
		{"too long", nil, "mailhost=old,hold=51", nil, nil, ErrTemporary, []string{ask}, "", 0, []string{
			`ERR: account bob cannot be used: option hold="51": must be a number of seconds from 0 to 50`}},
		{"not understood", nil, "mailhost=old,hold=yes", nil, nil, ErrTemporary, []string{ask}, "", 0, []string{
			`ERR: account bob cannot be used: option hold="yes": must be a number of seconds from 0 to 50`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := holdWorld(t, test.each, test.settings...)
			if test.options != "" {
				w.auth.Accounts["bob"].Options = authlib.Options(test.options)
			}
			c := test.c
			if c == nil {
				c = password("bob", "secret")
			}
			deadline := w.Deadline()
			_, err := w.Login(t.Context(), c)
			if !sameError(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if !slices.Equal(w.auth.Asked, test.asked) || strings.Join(w.Dialed, " ") != test.dialed {
				t.Errorf("asked %q, dialed %q", w.auth.Asked, w.Dialed)
			}
			if got := w.Deadline().Sub(deadline); got != test.held {
				t.Errorf("the session has %v more, want %v", got, test.held)
			}
			if n := w.service.holding.Load(); n != 0 {
				t.Errorf("%d places are taken", n)
			}
			w.wantLog(t, test.log...)
		})
	}
}

// A login that does not wait is not refused for what the auth module remembers from before the release.
func TestHoldRemembered(t *testing.T) {
	for name, c := range map[string]*Credentials{
		"the mailhost verifies": password("bob", "x"),
		"a token":               bySASL(sasl.Credentials{Mechanism: "OAUTHBEARER", User: "bob", Token: "x"}),
	} {
		t.Run(name, func(t *testing.T) {
			w := holdWorld(t, nil)
			old := *w.auth.Accounts["bob"]
			old.Options = "mailhost=old,hold=30,verify=mailhost"
			w.auth.Remembered = map[string]*authlib.Account{"bob": &old}
			w.auth.Accounts["bob"].Options = "mailhost=new,verify=mailhost"
			if _, err := w.Login(t.Context(), c); err != nil || strings.Join(w.Dialed, " ") != "127.0.0.3:143" {
				t.Errorf("%v, dialed %q", err, w.Dialed)
			}
		})
	}
}

// POP3 has a code of its own, and the end of the program ends the wait.
func TestHoldEnds(t *testing.T) {
	if imap, pop3 := IMAP().InUse, POP3().InUse; imap != "INUSE" || pop3 != "IN-USE" {
		t.Errorf("%s, %s", imap, pop3)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := holdWorld(t, func(*world, int) { cancel() })
	if _, err := w.Login(ctx, password("bob", "secret")); !errors.Is(err, ErrEnd) {
		t.Error(err)
	}
}

// At most HOLD_MAX logins wait; the next one is refused at once.
func TestHoldMax(t *testing.T) {
	var second error
	w := holdWorld(t, nil, "HOLD_MAX=1")
	asleep := w.service.System.Sleep
	w.service.System.Sleep = func(ctx context.Context, d time.Duration) {
		if d > 0 && second == nil {
			other := w.service.NewSession(w.Peer, nil, w.Log)
			_, second = other.Login(ctx, password("bob", "secret"))
		}
		asleep(ctx, d)
	}
	_, err := w.Login(t.Context(), password("bob", "secret"))
	if inUse := (&DeniedError{Code: "INUSE"}); !sameError(err, inUse) || !sameError(second, inUse) {
		t.Errorf("%v, %v", err, second)
	}
	if !strings.Contains(w.log.String(), "HOLD_MAX=1 logins wait already") {
		t.Error(w.log.String())
	}
}
