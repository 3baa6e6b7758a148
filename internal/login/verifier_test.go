package login

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/sasl"
	"mailproxy/internal/config"
	"mailproxy/internal/mailhost"
	"mailproxy/tests/logintest"
)

// byPassword is a mailhost that lets name in with password, and answers everything else with refusal.
func byPassword(name, password string, refusal Answer) mailhost.Login {
	return func(_ context.Context, m *mailhost.Conn) error {
		if m.User == name && m.Password == password && m.Authzid == "" {
			return nil
		}
		return &RejectedError{Step: mailhost.StepLogin, Answer: refusal}
	}
}

// An account whose mailhost verifies the password: what the auth module and the mailhost are asked, and what
// becomes of their answers.
func TestMailhostVerifies(t *testing.T) {
	const option, there, next = "mailhost=there;next,verify=mailhost", "127.0.0.2:143", "127.0.0.3:143"
	const pre, refusedWords = "lookup imap bob ::ffff:192.0.2.7", "the mailhost refuses the password: a1 NO"
	const failed = "INFO: LOGIN FAILED, user=bob, " + from
	typed := func(p string) string { return "login imap bob " + p + "  ::ffff:192.0.2.7" }
	all := []string{"IMAP_PROXY=1", "PROXY_VERIFY=MAILHOST"}
	each := []string{"IMAP_PROXY=1"}
	external := bySASL(sasl.Credentials{Mechanism: "EXTERNAL", External: true, User: "bob"})
	cram := bySASL(sasl.Credentials{Mechanism: "CRAM-MD5", Type: authlib.AuthCRAMMD5, Challenge: []byte("c"),
		Response: []byte("bob 00")})
	unproven := func(method string) string {
		return "INFO: LOGIN REFUSED, method=" + method + ", user=bob, " + from +
			": its mailhost verifies the password, which this method does not show"
	}
	bad := func(why string) string {
		return "ERR: account bob cannot be used: its mailhost is to verify the password " +
			"(PROXY_VERIFY=MAILHOST or the option verify=mailhost), but " + why
	}
	rejected := "INFO: Login to there failed, address=" + there + ", step=login, user=bob: " + refusedWords
	broken := &DeniedError{Code: "CONTACTADMIN"}
	for _, test := range []struct {
		name     string
		settings []string
		options  string
		c        *Credentials
		refusal  Answer
		want     error
		asked    []string
		dialed   []string
		log      []string
	}{
		{"the right password", all, "mailhost=there", password("bob", "theirs"), Answer{}, nil,
			[]string{pre}, []string{there}, nil},
		{"the right password, by option", each, option, password("bob", "theirs"), Answer{}, nil,
			[]string{typed("theirs"), pre}, []string{there}, nil},
		{"a wrong one", all, "mailhost=there;next", password("bob", "x"), Answer{Text: "a1 NO"}, ErrRefused,
			[]string{pre}, []string{there}, []string{rejected, failed}},
		{"a wrong one, by option", each, option, password("bob", "x"),
			Answer{Code: "AUTHENTICATIONFAILED", Text: "a1 NO"}, ErrRefused,
			[]string{typed("x"), pre}, []string{there}, []string{rejected, failed}},
		{"one that only the database knows", each, option, password("bob", "secret"), Answer{Text: "a1 NO"},
			ErrRefused, []string{typed("secret")}, []string{there}, []string{rejected, failed}},
		{"a policy of the mailhost's", all, "mailhost=there;next", password("bob", "x"),
			Answer{Code: "EXPIRED", Text: "a1 NO"}, &DeniedError{Code: "EXPIRED"},
			[]string{pre}, []string{there},
			[]string{"WARN: Login to there failed, address=" + there +
				", step=login, user=bob: the mailhost does not serve the account: a1 NO"}},
		{"trouble at the first", all, "mailhost=there;next", password("bob", "x"),
			Answer{Code: "UNAVAILABLE", Text: "a1 NO"}, ErrRefused, []string{pre}, []string{there, next},
			[]string{"WARN: Login to there failed, address=" + there +
				", step=login, user=bob: the mailhost has trouble of its own: a1 NO",
				"INFO: Login to next failed, address=" + next + ", step=login, user=bob: " +
					refusedWords, failed}},
		{"an unknown name", all, "", password("eve", "theirs"), Answer{}, ErrRefused,
			[]string{"lookup imap eve ::ffff:192.0.2.7"}, nil,
			[]string{"INFO: LOGIN FAILED, user=eve, " + from}},
		{"an empty password", all, "mailhost=there", password("bob", ""), Answer{}, ErrRefused,
			nil, nil, []string{failed}},
		{"CRAM", all, "mailhost=there", cram, Answer{}, broken, []string{pre}, nil,
			[]string{unproven("CRAM-MD5")}},
		{"CRAM that the database verifies", each, option, cram, Answer{}, broken,
			[]string{"cram-md5 imap   bob 00 ::ffff:192.0.2.7"}, nil, []string{unproven("CRAM-MD5")}},
		{"EXTERNAL", each, option, external, Answer{}, broken, []string{pre}, nil,
			[]string{unproven("EXTERNAL")}},
		{"SCRAM", each, option, bySASL(sasl.Credentials{Mechanism: "SCRAM-SHA-256", User: "bob",
			Err: authlib.ErrRefused}), Answer{}, broken, []string{pre}, nil,
			[]string{unproven("SCRAM-SHA-256")}},
		{"here", all, "mailhost=proxy.example.com", password("bob", "secret"), Answer{}, broken,
			[]string{pre}, nil, []string{bad("the account is here")}},
		{"no mailhost", all, "", password("bob", "secret"), Answer{}, broken, []string{pre}, nil,
			[]string{"WARN: proxy enabled, but no proxy host defined for bob", bad("the account is here")}},
		{"no proxying", nil, option, password("bob", "secret"), Answer{}, broken,
			[]string{typed("secret")}, nil,
			[]string{bad("the account is here")}},
		{"a master user", append(each, "PROXY_MASTER_USER=m", "PROXY_MASTER_PASSWORD_FILE=/x"), option,
			password("bob", "x"), Answer{}, ErrTemporary, []string{typed("x"), pre}, nil,
			[]string{bad("PROXY_MASTER_USER is set")}},
		{"a master user, the database's password", append(each, "PROXY_MASTER_USER=m",
			"PROXY_MASTER_PASSWORD_FILE=/x"), option, password("bob", "secret"), Answer{}, ErrTemporary,
			[]string{typed("secret")}, nil, []string{bad("PROXY_MASTER_USER is set")}},
		{"disabled", all, "mailhost=there,disableimap=1", password("bob", "theirs"), Answer{}, broken,
			[]string{pre}, nil,
			[]string{"INFO: LOGIN DISABLED, user=bob, " + from + ", protocol=IMAP, option=disableimap"}},
		{"not understood", each, "mailhost=there,verify=maihost", password("bob", "x"), Answer{},
			ErrTemporary, []string{typed("x"), pre}, nil, []string{
				`ERR: account bob cannot be used: option verify="maihost": must be AUTHLIB or MAILHOST`}},
		{"not understood, the right password", all, "mailhost=there,verify=1", password("bob", "theirs"),
			Answer{}, ErrTemporary, []string{pre}, nil, []string{
				`ERR: account bob cannot be used: option verify="1": must be AUTHLIB or MAILHOST`}},
		{"one that is verified here", all, "mailhost=there,verify=Authlib", password("bob", "theirs"),
			Answer{}, ErrRefused, []string{pre, typed("theirs")}, nil, []string{failed}},
		{"an option without a value", all, "mailhost=there,verify=", password("bob", "theirs"), Answer{}, nil,
			[]string{pre}, []string{there}, nil},
	} {
		w := newWorld(t, imap, test.settings...)
		w.auth.Add("bob", test.options)
		w.Hosts["there"], w.Hosts["next"] = []string{"127.0.0.2"}, []string{"127.0.0.3"}
		w.Servers[there] = byPassword("bob", "theirs", test.refusal)
		w.Servers[next] = byPassword("bob", "theirs", Answer{Text: "a1 NO"})
		o, err := w.Login(t.Context(), test.c)
		if !sameError(err, test.want) || err == nil && o.Mailhost == nil {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if !slices.Equal(w.auth.Asked, test.asked) || !slices.Equal(w.Dialed, test.dialed) {
			t.Errorf("%s: asked %q, dialed %q", test.name, w.auth.Asked, w.Dialed)
		}
		if err != nil && !slices.Equal(w.slept, []time.Duration{5 * time.Second}) {
			t.Errorf("%s: slept %v", test.name, w.slept)
		}
		w.wantLog(t, test.log...)
	}
}

// What goes to the mailhost is the account's address and the client's password, whatever the database knows.
func TestMailhostVerifiesAddress(t *testing.T) {
	w := newWorld(t, imap, "IMAP_PROXY=1", "PROXY_VERIFY=MAILHOST", "DEFDOMAIN=@d")
	w.auth.Add("bob@d", "mailhost=there").Address = "mailbox-17"
	w.Hosts["there"] = []string{"127.0.0.2"}
	w.Servers["127.0.0.2:143"] = byPassword("mailbox-17", "theirs", Answer{})
	if _, err := w.Login(t.Context(), password("bob", "theirs")); err != nil {
		t.Error(err)
	}
}

// PROXY_LOCAL is not asked: an account that is here has no mailhost to verify it.
func TestMailhostVerifiesNotLocal(t *testing.T) {
	w := newWorld(t, imap, "IMAP_PROXY=1", "PROXY_VERIFY=MAILHOST")
	w.service.Local = config.Place{Addr: netip.MustParseAddrPort("127.0.0.5:1143")}
	w.auth.Add("bob", "mailhost=proxy.example.com")
	w.Servers["127.0.0.5:1143"] = logintest.Says(nil)
	_, err := w.Login(t.Context(), password("bob", "secret"))
	if !sameError(err, &DeniedError{Code: "CONTACTADMIN"}) || len(w.Dialed) > 0 {
		t.Errorf("%v, dialed %q", err, w.Dialed)
	}
}

// A refused password counts for the throttle, as one that the database refuses does; other refusals do not.
func TestMailhostVerifiesThrottle(t *testing.T) {
	for _, test := range []struct {
		refusal Answer
		counted int
	}{
		{Answer{}, 1}, {Answer{Code: "AUTHENTICATIONFAILED"}, 1},
		{Answer{Code: "EXPIRED"}, 0}, {Answer{Code: "LIMIT"}, 0},
	} {
		w := newWorld(t, imap, "IMAP_PROXY=1", "PROXY_VERIFY=MAILHOST", "THROTTLE_FILE=/x")
		memory := &countingThrottle{}
		w.service.Throttle = memory
		w.auth.Add("bob", "mailhost=there")
		w.Hosts["there"] = []string{"127.0.0.2"}
		w.Servers["127.0.0.2:143"] = byPassword("bob", "theirs", test.refusal)
		w.Login(t.Context(), password("bob", "x"))
		if memory.addresses != test.counted || memory.names != test.counted {
			t.Errorf("%+v: counted %d for the address, %d for the name",
				test.refusal, memory.addresses, memory.names)
		}
	}
}

// No wrong password gets in: in every combination of setting, option, place, database, mechanism and answer a
// login succeeds only when who is to verify the password has found it right, and only where it was verified.
func TestNoWrongPassword(t *testing.T) {
	secretFile := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secretFile, "master's\n")
	settings := [][]string{{"IMAP_PROXY=0"}, {"IMAP_PROXY=1"}, {"IMAP_PROXY=1", "PROXY_VERIFY=MAILHOST"},
		{"IMAP_PROXY=1", "PROXY_MASTER_USER=m", "PROXY_MASTER_PASSWORD_FILE="}}
	options := []string{"", "verify=mailhost", "verify=authlib", "verify=", "verify=other",
		"verify=MAILHOST,verify=authlib"}
	places := []string{"", "mailhost=proxy.example.com", "mailhost=there", "mailhost=there;proxy.example.com"}
	logins := []*Credentials{password("bob", "stored"), password("bob", "theirs"), password("bob", "x"),
		bySASL(sasl.Credentials{Mechanism: "CRAM-MD5", Type: authlib.AuthCRAMMD5, Response: []byte("bob 00")}),
		bySASL(sasl.Credentials{Mechanism: "EXTERNAL", External: true, User: "bob"}),
		bySASL(sasl.Credentials{Mechanism: "SCRAM-SHA-256", User: "bob", Account: &authlib.Account{
			Address: "bob", ClearPassword: "stored"}}),
		bySASL(sasl.Credentials{Mechanism: "SCRAM-SHA-256", User: "bob", Err: authlib.ErrRefused})}
	refusals := []*Answer{{}, {Code: "AUTHENTICATIONFAILED"}, {Kind: Undecided}, {Code: "UNAVAILABLE"}, nil}
	locals := []string{"", "127.0.0.5:1143"}
	in := 0
	for i := range len(settings) * len(options) * len(places) * len(logins) * len(refusals) * len(locals) {
		rest := i
		pick := func(n int) int { k := rest % n; rest /= n; return k }
		setting, option := settings[pick(len(settings))], options[pick(len(options))]
		place, local := places[pick(len(places))], locals[pick(len(locals))]
		c, refusal := logins[pick(len(logins))], refusals[pick(len(refusals))]

		w := newWorld(t, imap, masterFile(setting, secretFile)...)
		known := w.auth.Add("bob", place+","+option)
		known.ClearPassword = "stored"
		if c.Account != nil {
			scram := *c
			scram.Account = known
			c = &scram
		}
		w.Hosts["there"] = []string{"127.0.0.2"}
		var told *mailhost.Conn
		w.Servers["127.0.0.2:143"] = func(ctx context.Context, m *mailhost.Conn) error {
			told = m
			switch {
			case refusal == nil:
				return errors.New("closed")
			case m.Authzid != "":
				return nil // the master user
			case m.Unverified:
				return byPassword("bob", "theirs", *refusal)(ctx, m)
			}
			return byPassword("bob", "stored", *refusal)(ctx, m)
		}
		w.Servers["127.0.0.5:1143"] = byPassword("bob", "stored", Answer{})
		if local != "" {
			w.service.Local = config.Place{Addr: netip.MustParseAddrPort(local)}
		}
		o, err := w.Login(t.Context(), c)
		if err != nil {
			continue
		}
		in++
		what := fmt.Sprint(setting, option, place, local, c)
		first, _ := authlib.Options(option).Get("verify")
		byMailhost := strings.EqualFold(first, "mailhost") ||
			first == "" && slices.Contains(setting, "PROXY_VERIFY=MAILHOST")
		switch {
		case first == "other":
			t.Errorf("%s: let in with an option that is not understood", what)
		case byMailhost && (o.Mailhost == nil || o.Mailhost.Local || c.Password != "theirs" || c.External ||
			told.Authzid != "" || told.Password != c.Password):
			t.Errorf("%s: let in although only the mailhost verifies", what)
		case c.Err != nil:
			t.Errorf("%s: let in with a wrong proof", what)
		case !byMailhost && c.Type == authlib.AuthLogin && c.Password != "stored":
			t.Errorf("%s: let in with a password that the database does not know", what)
		}
	}
	if in == 0 {
		t.Error("nobody was let in at all")
	}
}

// masterFile completes the setting that names the file of the master user's password.
func masterFile(settings []string, name string) []string {
	settings = slices.Clone(settings)
	for i, s := range settings {
		if s == "PROXY_MASTER_PASSWORD_FILE=" {
			settings[i] += name
		}
	}
	return settings
}

// countingThrottle counts failed logins.
type countingThrottle struct{ addresses, names int }

func (c *countingThrottle) Acquire(netip.Addr, int, time.Duration, time.Time) (bool, func() error, error) {
	return true, func() error { return nil }, nil
}

func (c *countingThrottle) Failed(netip.Addr, time.Time) (int, error) {
	c.addresses++
	return c.addresses, nil
}

func (c *countingThrottle) FailedName(string, time.Time) (int, error) {
	c.names++
	return c.names, nil
}
