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
	"mailproxy/tests/logintest"
)

// Who is refused, who is sent away for now, what the log says, and that every failure is delayed.
func TestLoginRefused(t *testing.T) {
	cram := func(response string) *Credentials {
		return bySASL(sasl.Credentials{Mechanism: "CRAM-MD5", Type: authlib.AuthCRAMMD5,
			Challenge: []byte("<x@y>"), Response: []byte(response)})
	}
	for _, test := range []struct {
		name  string
		c     *Credentials
		err   error // of the auth module
		want  error
		log   string
		asked int
	}{
		{"wrong password", password("bob", "x"), nil, ErrRefused, "INFO: LOGIN FAILED, user=bob, " + from, 1},
		{"unknown user", password("eve", "secret"), nil, ErrRefused, "INFO: LOGIN FAILED, user=eve, " + from, 1},
		{"LF in the password", password("bob", "secret\njunk"), nil, ErrRefused, "INFO: LOGIN FAILED, user=bob, " +
			from, 0},
		{"CR in the name", password("bob\r", "secret"), nil, ErrRefused, `INFO: LOGIN FAILED, user=bob\015, ` +
			from, 0},
		{"NUL", password("bob", "secret\x00"), nil, ErrRefused, "INFO: LOGIN FAILED, user=bob, " + from, 0},
		{"DEL", password("bob\x7f", "secret"), nil, ErrRefused, `INFO: LOGIN FAILED, user=bob\177, ` + from, 0},
		{"empty name", password("", "secret"), nil, ErrRefused, "INFO: LOGIN FAILED, user=, " + from, 0},
		{"empty password", password("bob", ""), nil, ErrRefused, "INFO: LOGIN FAILED, user=bob, " + from, 0},
		{"a name that looks like a log", password("x, ip=[198.51.100.1], port=[1]", "y"), nil, ErrRefused,
			`INFO: LOGIN FAILED, user=x\054 ip=[198.51.100.1]\054 port=[1], ` + from, 1},
		{"a long name", password(strings.Repeat("n", 1000), "y"), nil, ErrRefused,
			"INFO: LOGIN FAILED, user=" + strings.Repeat("n", 300) + "..., " + from, 1},
		{"a name that is too long", password(strings.Repeat("n", 1025), "y"), nil, &DeniedError{Code: "LIMIT"},
			"INFO: LOGIN REFUSED, method=LOGIN, " + from +
				": name or password too long, at most 1024 and 4096 bytes are taken", 0},
		{"the longest password", password("bob", strings.Repeat("p", 4096)), nil, ErrRefused,
			"INFO: LOGIN FAILED, user=bob, " + from, 1},
		{"a password that is too long", password("bob", strings.Repeat("p", 4097)), nil,
			&DeniedError{Code: "LIMIT"},
			"INFO: LOGIN REFUSED, method=LOGIN, " + from +
				": name or password too long, at most 1024 and 4096 bytes are taken", 0},
		{"PLAIN, too long", bySASL(sasl.Credentials{Mechanism: "PLAIN", Type: authlib.AuthLogin, User: "bob",
			Password: strings.Repeat("p", 4097)}),
			nil, &DeniedError{Code: "LIMIT"}, "INFO: LOGIN REFUSED, method=PLAIN, " + from +
				": name or password too long, at most 1024 and 4096 bytes are taken", 0},
		{"PLAIN", bySASL(sasl.Credentials{Mechanism: "PLAIN", Type: authlib.AuthLogin, User: "bob", Password: "x"}),
			nil, ErrRefused,
			"INFO: LOGIN FAILED, method=PLAIN, " + from, 1},
		{"CRAM", cram("eve 0123"), nil, ErrRefused, "INFO: LOGIN FAILED, method=CRAM-MD5, " + from, 1},
		{"CRAM without a digest", cram("eve"), nil, ErrRefused, "INFO: LOGIN FAILED, method=CRAM-MD5, " + from, 0},
		{"CRAM with LF", cram("bob\n 0123"), nil, ErrRefused, "INFO: LOGIN FAILED, method=CRAM-MD5, " + from, 0},
		{"CRAM without a name", cram(" 0123"), nil, ErrRefused, "INFO: LOGIN FAILED, method=CRAM-MD5, " + from, 0},
		{"EXTERNAL", bySASL(sasl.Credentials{Mechanism: "EXTERNAL", External: true, User: "eve"}), nil, ErrRefused,
			"INFO: LOGIN FAILED, method=EXTERNAL, " + from, 1},
		{"EXTERNAL with LF", bySASL(sasl.Credentials{Mechanism: "EXTERNAL", External: true, User: "bob\n"}), nil,
			ErrRefused,
			"INFO: LOGIN FAILED, method=EXTERNAL, " + from, 0},
		{"no auth module", password("bob", "secret"), errors.New("connect: no such file"), ErrTemporary,
			"WARN: authentication error, " + from + ": connect: no such file", 1},
	} {
		w := newWorld(t, imap)
		w.auth.Add("bob", "")
		w.auth.Err = test.err
		_, err := w.Login(t.Context(), test.c)
		if !sameError(err, test.want) || len(w.auth.Asked) != test.asked ||
			!slices.Equal(w.slept, []time.Duration{5 * time.Second}) {
			t.Errorf("%s: error %v, asked %q, slept %v", test.name, err, w.auth.Asked, w.slept)
		}
		w.wantLog(t, test.log)
	}
}

// What the auth module is asked.
func TestLoginAsks(t *testing.T) {
	for _, test := range []struct {
		settings []string
		c        *Credentials
		want     string
	}{
		{nil, password("bob", "secret"), "login imap bob secret  ::ffff:192.0.2.7"},
		{[]string{"AUTHSERVICE143=mail", "AUTHSERVICE993=x"}, password("bob", "secret"),
			"login mail bob secret  ::ffff:192.0.2.7"},
		{[]string{"AUTHSERVICE143="}, password("bob", "secret"), "login imap bob secret  ::ffff:192.0.2.7"},
		{[]string{"DEFDOMAIN=@d"}, password("bob", "p w"), "login imap bob@d p w  ::ffff:192.0.2.7"},
		{[]string{"DEFDOMAIN=@d"}, bySASL(sasl.Credentials{Type: authlib.AuthCRAMSHA1,
			Challenge: []byte("c"), Response: []byte("b ob 00ff")}),
			"cram-sha1 imap   b ob@d 00ff ::ffff:192.0.2.7"},
		{[]string{"DEFDOMAIN=@d"}, bySASL(sasl.Credentials{External: true, User: "bob"}),
			"lookup imap bob@d ::ffff:192.0.2.7"},
	} {
		w := newWorld(t, imap, test.settings...)
		w.Login(t.Context(), test.c)
		if !slices.Equal(w.auth.Asked, []string{test.want}) {
			t.Errorf("%v: asked %q, want %q", test.settings, w.auth.Asked, test.want)
		}
	}
}

func TestLoginHere(t *testing.T) {
	for _, test := range []struct {
		settings []string
		options  string
		log      []string
	}{
		{nil, "mailhost=elsewhere", nil},
		{[]string{"IMAP_PROXY=0"}, "mailhost=elsewhere", nil},
		{[]string{"IMAP_PROXY=off"}, "mailhost=elsewhere", nil},
		{[]string{"IMAP_PROXY=1"}, "", []string{"WARN: proxy enabled, but no proxy host defined for bob"}},
		{[]string{"IMAP_PROXY=1"}, "mailhost=", []string{"WARN: proxy enabled, but no proxy host defined for bob"}},
		{[]string{"IMAP_PROXY=1"}, "mailhost=pROXY.example.com", nil},
		{[]string{"IMAP_PROXY=1"}, "mailhost=proxy.example.com.:143", nil},
		{[]string{"IMAP_PROXY=1", "PROXY_HOSTNAME=Me."}, "mailhost=mE", nil},
	} {
		w := newWorld(t, imap, test.settings...)
		w.auth.Add("bob", test.options)
		o, err := w.Login(t.Context(), password("bob", "secret"))
		if err != nil || o.Mailhost != nil || o.Account.Address != "bob" || w.slept != nil {
			t.Errorf("%v %s: %+v, %v", test.settings, test.options, o, err)
		}
		w.wantLog(t, test.log...)
	}
}

// TestLoginStopped: an expired password and a locked account are told as such, and are no failed login.
func TestLoginStopped(t *testing.T) {
	for _, test := range []struct {
		protocol Protocol
		err      error
		code     string
		reason   string
	}{
		{imap, authlib.ErrExpired, "EXPIRED", "password or account expired"},
		{imap, authlib.ErrLocked, "CONTACTADMIN", "account locked or disabled"},
		{pop3, authlib.ErrExpired, "AUTH", "password or account expired"},
		{pop3, authlib.ErrLocked, "SYS/PERM", "account locked or disabled"},
	} {
		w := newWorld(t, test.protocol)
		w.auth.Err = test.err
		_, err := w.Login(t.Context(), password("b,ob", "secret"))
		denied, ok := errors.AsType[*DeniedError](err)
		if !ok || denied.Code != test.code || errors.Is(err, ErrRefused) {
			t.Errorf("%s %v: %v", test.protocol.Name, test.err, err)
		}
		w.wantLog(t, `INFO: LOGIN DISABLED, user=b\054ob, `+from+", protocol="+test.protocol.Name+
			", reason="+test.reason)
	}
}

// TestLoginNoSecret: a CRAM response that was compared with nothing is no failed login where the mechanism is
// offered. Elsewhere a stranger is not told that there is such an account.
func TestLoginNoSecret(t *testing.T) {
	const why = ": neither a clear password nor a secret of this mechanism is stored: give it one of them, or " +
		"do not offer the mechanism"
	for protocol, code := range map[*Protocol]string{&imap: "CONTACTADMIN", &pop3: "SYS/PERM"} {
		for _, isOffered := range []bool{true, false} {
			w := newWorld(t, *protocol)
			w.auth.Err = authlib.ErrNoSecret
			c := bySASL(sasl.Credentials{Mechanism: "CRAM-MD5", Type: authlib.AuthCRAMMD5, User: "bob",
				Challenge: []byte("c"), Response: []byte("bob 00")})
			c.offered = isOffered
			_, err := w.Login(t.Context(), c)
			denied, ok := errors.AsType[*DeniedError](err)
			if isOffered {
				w.wantLog(t, "WARN: LOGIN REFUSED, user=bob, method=CRAM-MD5, "+from+why)
			} else {
				w.wantLog(t, "INFO: LOGIN FAILED, method=CRAM-MD5, "+from)
			}
			if ok != isOffered || ok && denied.Code != code || !ok && !errors.Is(err, ErrRefused) {
				t.Errorf("%s, offered %v: %v", protocol.Name, isOffered, err)
			}
		}
	}
}

// TestLoginTooLong: a password that the auth module does not look at is no failed login, and the answer is
// the same whether there is such an account or not.
func TestLoginTooLong(t *testing.T) {
	for protocol, code := range map[*Protocol]string{&imap: "LIMIT", &pop3: "SYS/PERM"} {
		for _, settings := range [][]string{nil, {protocol.Name + "_PROXY=1"}} {
			for _, user := range []string{"bob", "nobody"} {
				w := newWorld(t, *protocol, settings...)
				w.auth.Add("bob", "")
				w.auth.MaxPassword = 5
				_, err := w.Login(t.Context(), password(user, "secret"))
				denied, ok := errors.AsType[*DeniedError](err)
				if !ok || denied.Code != code {
					t.Errorf("%s %v %s: %v", protocol.Name, settings, user, err)
				}
				w.wantLog(t, "INFO: LOGIN REFUSED, method=LOGIN, "+from+": password too long")
			}
		}
	}
}

// TestLoginUnclearOption: an option that is neither on nor off opens no door, and is not the user's fault.
func TestLoginUnclearOption(t *testing.T) {
	w := newWorld(t, imap)
	w.auth.Add("bob", "disableimap=maybe")
	if _, err := w.Login(t.Context(), password("bob", "secret")); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
	w.wantLog(t, `WARN: account bob cannot be used: option disableimap="maybe": `+
		`must be yes, no, true, false, on, off, 1 or 0`)
}

func TestLoginDisabled(t *testing.T) {
	for _, test := range []struct {
		protocol Protocol
		options  string
		tls      bool
		want     string
	}{
		{imap, "disableimap=1", true, "disableimap"},
		{imap, "disableimap=0,disablepop3=1,disableinsecurepop3=1", false, ""},
		{imap, "disableimap=yes", false, "disableimap"},
		{imap, "disableimap = Off", false, ""},
		{imap, "x=1, disableimap", true, "disableimap"},
		{imap, "disableinsecureimap=1", false, "disableinsecureimap"},
		{imap, "disableinsecureimap=1", true, ""},
		{pop3, "disablepop3=2", true, "disablepop3"},
		{pop3, "disableinsecurepop3=1", false, "disableinsecurepop3"},
		{pop3, "disableinsecurepop3=1", true, ""},
	} {
		for _, proxy := range []string{"0", "1"} {
			w := newWorld(t, test.protocol, test.protocol.Name+"_PROXY="+proxy)
			w.auth.Add("bob", test.options+",mailhost=there")
			w.Hosts["there"] = []string{"127.0.0.2"}
			w.Servers["127.0.0.2:"+test.protocol.Port] = logintest.Says(nil)
			w.TLS = test.tls
			_, err := w.Login(t.Context(), password("bob", "secret"))
			if test.want == "" {
				if err != nil {
					t.Errorf("%s %s: %v", test.protocol.Name, test.options, err)
				}
				continue
			}
			denied := w.service.Protocol.Codes.Broken
			if strings.HasPrefix(test.want, "disableinsecure") {
				denied = w.service.Protocol.Codes.Private
			}
			if !sameError(err, &DeniedError{Code: denied}) || len(w.Dialed) != 0 {
				t.Errorf("%s %s: %v, dialed %v", test.protocol.Name, test.options, err, w.Dialed)
			}
			w.wantLog(t, "INFO: LOGIN DISABLED, user=bob, "+from+
				", protocol="+test.protocol.Name+", option="+test.want)
		}
	}
}

// The delay does not end when the client hangs up, but it ends with the program and with the session's time.
func TestLoginEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imap, "LOGIN_FAIL_DELAY=60")
	w.service.System.Sleep = RealSystem().Sleep
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	start := time.Now()
	_, err := w.Login(ctx, password("bob", "x"))
	if !errors.Is(err, ErrEnd) || time.Since(start) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}

	w = newWorld(t, imap, "LOGIN_TIMEOUT=1", "LOGIN_FAIL_DELAY=60")
	w.service.System.Sleep = RealSystem().Sleep
	_, err = w.Login(t.Context(), password("bob", "x"))
	if !errors.Is(err, ErrEnd) {
		t.Error(err)
	}
}
