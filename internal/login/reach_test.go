package login

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/mailhost"
	"mailproxy/tests/logintest"
	"mailproxy/tests/testlog"
)

func TestReach(t *testing.T) {
	ok := logintest.Says(nil)
	rejected := logintest.Says(&RejectedError{Step: mailhost.StepLogin,
		Answer: Answer{Code: "AUTHENTICATIONFAILED", Text: "a1 NO [AUTHENTICATIONFAILED] wrong: secret"}})
	unavailable := logintest.Says(&RejectedError{Step: mailhost.StepLogin,
		Answer: Answer{Code: "UNAVAILABLE", Text: "a1 NO [UNAVAILABLE] x"}})
	wrong := &DeniedError{Code: "AUTHENTICATIONFAILED"}
	greeting := logintest.Says(&mailhost.StepError{Step: mailhost.StepGreeting, Err: io.EOF})
	stuck := logintest.Says(&mailhost.StepError{Step: mailhost.StepLogin, Err: os.ErrDeadlineExceeded})
	odd := logintest.Says(errors.New("odd"))
	const noAddress = ", address=none, step=resolve, user=bob: the name has no address"
	for _, test := range []struct {
		name     string
		mailhost string
		servers  map[string]mailhost.Login
		want     error
		host     string // that took the account; "" with no error = here
		dialed   string
		log      []string
	}{
		{"one", "a", servers{"127.0.1.1:143": ok}, nil, "a", "127.0.1.1:143", nil},
		{"port", "a:1143", servers{"127.0.1.1:1143": ok}, nil, "a", "127.0.1.1:1143", nil},
		{"address", "[::1]:3", servers{"[::1]:3": ok}, nil, "::1", "[::1]:3", nil},
		{"mapped address", "::ffff:127.0.1.1", servers{"127.0.1.1:143": ok}, nil, "::ffff:127.0.1.1",
			"127.0.1.1:143", nil},
		{"own name, other port", "proxy.example.com:1143", servers{"127.0.1.9:1143": ok}, nil, "proxy.example.com",
			"127.0.1.9:1143", nil},
		{"second address", "two", servers{"127.0.2.2:143": ok}, nil, "two", "127.0.2.1:143 127.0.2.2:143", []string{
			"WARN: Connection to proxyhost two failed, address=127.0.2.1:143, step=connect, user=bob: " +
				"nobody listens"}},
		{"second host", "none;a", servers{"127.0.1.1:143": ok}, nil, "a", "127.0.1.1:143", []string{
			"WARN: getaddrinfo on proxyhost none failed, address=none, step=resolve, user=bob: lookup none: no such " +
				"host"}},
		{"no greeting", "a two", servers{"127.0.1.1:143": greeting, "127.0.2.1:143": ok}, nil, "two",
			"127.0.1.1:143 127.0.2.1:143", []string{
				"WARN: Did not receive greeting from a, address=127.0.1.1:143, step=greeting, user=bob: " +
					"connection closed"}},
		{"no answer", "a", servers{"127.0.1.1:143": stuck}, ErrTemporary, "", "127.0.1.1:143", []string{
			"WARN: Login to a failed, address=127.0.1.1:143, step=login, user=bob: timeout"}},
		{"an error without a step", "a", servers{"127.0.1.1:143": odd}, ErrTemporary, "", "127.0.1.1:143", []string{
			"WARN: Login to a failed, address=127.0.1.1:143, step=login, user=bob: odd"}},
		{"rejected: nobody else is asked", "two;a", servers{"127.0.2.1:143": rejected, "127.0.2.2:143": ok,
			"127.0.1.1:143": ok},
			wrong, "", "127.0.2.1:143", []string{
				"WARN: Login to two failed, address=127.0.2.1:143, step=login, user=bob: " +
					"the mailhost refuses a password that the account database has verified: a1 NO [AUTHENTICATIONFAILED] " +
					"wrong: ***"}},
		{"trouble of its own: the next one is asked", "a;two",
			servers{"127.0.1.1:143": unavailable, "127.0.2.1:143": ok}, nil, "two",
			"127.0.1.1:143 127.0.2.1:143", []string{
				"WARN: Login to a failed, address=127.0.1.1:143, step=login, user=bob: the mailhost has trouble of its " +
					"own: a1 NO [UNAVAILABLE] x"}},
		{"here at last", "none;PROXY.example.com;a", nil, nil, "", "", []string{
			"WARN: getaddrinfo on proxyhost none failed, address=none, step=resolve, user=bob: lookup none: no such " +
				"host"}},
		{"loop", "127.0.0.1;192.0.2.1;a", servers{"192.0.2.1:143": ok, "127.0.1.1:143": ok}, nil, "a",
			"127.0.0.1:143 127.0.1.1:143", []string{
				"WARN: Connection to proxyhost 127.0.0.1 failed, address=127.0.0.1:143, step=connect, user=bob: nobody " +
					"listens",
				"WARN: Login to 192.0.2.1 failed, address=192.0.2.1:143, step=connect, user=bob: this is the address " +
					"and port that the client is connected to: proxying loop refused"}},
		{"0.0.0.0 is this host too", "0.0.0.0;zero;[::];a",
			servers{"0.0.0.0:143": ok, "[::]:143": ok, "127.0.1.1:143": ok}, nil, "a", "127.0.1.1:143", []string{
				"WARN: getaddrinfo on proxyhost 0.0.0.0 failed" + noAddress,
				"WARN: getaddrinfo on proxyhost zero failed" + noAddress,
				"WARN: getaddrinfo on proxyhost :: failed" + noAddress}},
		{"own address, other port", "192.0.2.1:1143", servers{"192.0.2.1:1143": ok}, nil, "192.0.2.1",
			"192.0.2.1:1143", nil},
		{"bad option", "a:b", nil, ErrTemporary, "", "", []string{
			`WARN: account bob cannot be proxied: mailhost "a:b": port "b" is not a number from 1 to 65535`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, imap, "IMAP_PROXY=1")
			w.auth.Add("bob", "mailhost="+test.mailhost)
			w.Hosts = map[string][]string{"a": {"127.0.1.1"}, "two": {"127.0.2.1", "127.0.2.2"},
				"proxy.example.com": {"127.0.1.9"}, "zero": {"0.0.0.0"}}
			w.Servers = test.servers
			o, err := w.Login(t.Context(), password("bob", "secret"))
			w.wantLog(t, test.log...)
			if got := strings.Join(w.Dialed, " "); got != test.dialed {
				t.Errorf("dialed %s, want %s", got, test.dialed)
			}
			if !sameError(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			switch {
			case err != nil:
				if len(w.slept) != 1 {
					t.Errorf("slept %v", w.slept)
				}
			case test.host == "":
				if o.Mailhost != nil {
					t.Errorf("not here: %+v", o.Mailhost)
				}
			default:
				if m := o.Mailhost; m.Host != test.host || m.Addr != w.Dialed[len(w.Dialed)-1] {
					t.Errorf("%+v", m)
				}
			}
		})
	}
}

// sameError compares two errors; of a *DeniedError the value counts.
func sameError(got, want error) bool {
	denied, _ := errors.AsType[*DeniedError](got)
	wanted, _ := errors.AsType[*DeniedError](want)
	if denied != nil && wanted != nil {
		return *denied == *wanted
	}
	return errors.Is(got, want)
}

type servers = map[string]mailhost.Login

// What a dialogue gets to log in with.
func TestReachTemplate(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("mpw\r\nsecond\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		settings []string
		want     mailhost.Conn
	}{
		{nil, mailhost.Conn{User: "bob", Password: "secret"}},
		{[]string{"PROXY_MASTER_USER=master", "PROXY_MASTER_PASSWORD_FILE=" + secret},
			mailhost.Conn{User: "master", Password: "mpw", Authzid: "bob"}},
	} {
		var got mailhost.Conn
		w := newWorld(t, pop3, append(test.settings, "POP3_PROXY=1")...)
		w.auth.Add("bob", "mailhost=127.0.1.1")
		w.Servers["127.0.1.1:110"] = func(_ context.Context, m *mailhost.Conn) error { got = *m; return nil }
		c := password("bob", "secret")
		c.UTF8, c.Tag = true, "tag"
		if _, err := w.Login(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if got.User != test.want.User || got.Password != test.want.Password || got.Authzid != test.want.Authzid ||
			got.Tag != "tag" || !got.UTF8 || !reflect.DeepEqual(got.Client, w.Peer) || got.Host != "127.0.1.1" ||
			got.StartTLS != nil || got.Config != w.Config {
			t.Errorf("%+v", got)
		}
		w.wantLog(t)
	}
}

func TestReachNoPassword(t *testing.T) {
	dir := t.TempDir()
	open, empty := filepath.Join(dir, "open"), filepath.Join(dir, "empty")
	os.WriteFile(open, []byte("x\n"), 0o600)
	os.Chmod(open, 0o604)
	os.WriteFile(empty, []byte("\nx\n"), 0o600)
	for _, test := range []struct {
		settings []string
		password string
		want     error
		log      []string
	}{
		{nil, "", &DeniedError{Code: "CONTACTADMIN"}, []string{
			"WARN: proxy enabled, but no password for bob: PROXY_MASTER_USER logs in without it"}},
		{nil, "a\nb", ErrTemporary,
			[]string{"WARN: account bob cannot be proxied: control character in its address or password"}},
		{[]string{"PROXY_MASTER_USER=m", "PROXY_MASTER_PASSWORD_FILE=" + dir + "/none"}, "x", ErrTemporary,
			[]string{"ERR: PROXY_MASTER_PASSWORD_FILE: stat " + dir + "/none: no such file or directory"}},
		{[]string{"PROXY_MASTER_USER=m", "PROXY_MASTER_PASSWORD_FILE=" + open}, "x", ErrTemporary,
			[]string{"ERR: PROXY_MASTER_PASSWORD_FILE: " + open +
				": everybody may use it (mode 0604): chmod it to 0600"}},
		{[]string{"PROXY_MASTER_USER=m", "PROXY_MASTER_PASSWORD_FILE=" + empty}, "x", ErrTemporary,
			[]string{"ERR: PROXY_MASTER_PASSWORD_FILE: " + empty +
				": no password in its first line, or one with control characters"}},
		{[]string{"PROXY_MASTER_USER=m", "PROXY_MASTER_PASSWORD_FILE=" + dir}, "x", ErrTemporary,
			[]string{"ERR: PROXY_MASTER_PASSWORD_FILE: " + dir + ": not a file of at most 4096 bytes"}},
	} {
		w := newWorld(t, imap, append(test.settings, "IMAP_PROXY=1")...)
		w.auth.Add("bob", "mailhost=127.0.1.1").ClearPassword = test.password
		_, err := w.Login(t.Context(), bySASL(sasl.Credentials{Mechanism: "EXTERNAL", External: true, User: "bob"}))
		if !sameError(err, test.want) || len(w.Dialed) != 0 {
			t.Errorf("%v: %v, dialed %v", test.settings, err, w.Dialed)
		}
		w.wantLog(t, test.log...)
	}
}

func TestReachHostnameFails(t *testing.T) {
	w := newWorld(t, imap, "IMAP_PROXY=1")
	w.auth.Add("bob", "mailhost=127.0.1.1")
	w.service.System.Hostname = func() (string, error) { return "", syscall.EFAULT }
	if _, err := w.Login(t.Context(), password("bob", "secret")); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
	w.wantLog(t, "ERR: gethostname failed: bad address")
}

// A mailhost that hangs is given up in time, whatever it hangs at; a signal ends the wait.
func TestReachTimeLimits(t *testing.T) {
	t.Parallel()
	hang := func(_ context.Context, m *mailhost.Conn) error {
		_, err := m.Conn.Read(make([]byte, 1))
		return &mailhost.StepError{Step: mailhost.StepGreeting, Err: err}
	}
	w := newWorld(t, imap, "IMAP_PROXY=1", "PROXY_LOGIN_TIMEOUT=1")
	w.auth.Add("bob", "mailhost=127.0.1.1")
	w.Servers["127.0.1.1:143"] = hang
	start := time.Now()
	_, err := w.Login(t.Context(), password("bob", "secret"))
	d := time.Since(start)
	if !errors.Is(err, ErrTemporary) || d < 900*time.Millisecond || d > testlog.Patience {
		t.Errorf("%v after %v", err, d)
	}
	w.wantLog(t, "WARN: Did not receive greeting from 127.0.1.1, address=127.0.1.1:143, step=greeting, "+
		"user=bob: timeout")

	w = newWorld(t, imap, "IMAP_PROXY=1", "PROXY_CONNECT_TIMEOUT=1")
	w.auth.Add("bob", "mailhost=127.0.1.1")
	w.service.Mailhosts.Dial = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if _, err := w.Login(t.Context(), password("bob", "secret")); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
	w.wantLog(t, "WARN: Connection to proxyhost 127.0.1.1 failed, address=127.0.1.1:143, step=connect, "+
		"user=bob: timeout")

	w = newWorld(t, imap, "IMAP_PROXY=1")
	w.auth.Add("bob", "mailhost=127.0.1.1;127.0.1.2")
	ctx, cancel := context.WithCancel(t.Context())
	w.Servers["127.0.1.1:143"] = func(ctx context.Context, m *mailhost.Conn) error {
		cancel()
		return hang(ctx, m)
	}
	if _, err := w.Login(ctx, password("bob", "secret")); !errors.Is(err, ErrEnd) || len(w.Dialed) != 1 {
		t.Errorf("%v, dialed %v", err, w.Dialed)
	}
}

// After a login nothing of its time limits is left on the mailhost's connection.
func TestReachDeadlinesGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imap, "IMAP_PROXY=1", "PROXY_LOGIN_TIMEOUT=3", "LOGIN_TIMEOUT=3")
	w.auth.Add("bob", "mailhost=127.0.1.1")
	w.Servers["127.0.1.1:143"] = logintest.Says(nil)
	o, err := w.Login(t.Context(), password("bob", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	conn := o.Mailhost.Conn
	time.AfterFunc(3200*time.Millisecond, func() { conn.Close() })
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a deadline was left behind")
	}
}

func TestIsOurselvesBehindABalancer(t *testing.T) {
	ours, err := net.ResolveTCPAddr("tcp", "[::ffff:127.0.0.1]:1043")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, imap)
	s := w.service.NewSession(w.Peer, ours, w.Log)
	for addr, want := range map[string]bool{
		"127.0.0.1:1043": true, "[::ffff:127.0.0.1]:1043": true, "127.0.0.1:143": false, "192.0.2.1:143": true,
		"[::ffff:192.0.2.1]:143": true, "192.0.2.1:1143": false, "192.0.2.2:143": false,
	} {
		if got := s.isOurselves(netip.MustParseAddrPort(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
}

// A mailhost that is down is left out: the next one is taken without a line, or the client is told at once.
func TestMailhostThatIsDown(t *testing.T) {
	w := newWorld(t, imap, "IMAP_PROXY=1")
	w.auth.Add("bob", "mailhost=down;up")
	w.auth.Add("ann", "mailhost=down")
	w.Hosts = map[string][]string{"down": {"127.0.0.2"}, "up": {"127.0.0.3"}}
	w.Servers["127.0.0.3:143"] = logintest.Says(nil)
	w.service.Mailhosts.Dial = refusing(w.service.Mailhosts.Dial)
	w.service.Mailhosts.Health = mailhost.NewHealth(10, time.Hour, time.Now, mailhost.Events{})
	for range 5 {
		o, err := w.Login(t.Context(), password("bob", "secret"))
		if err != nil || o.Mailhost.Host != "up" {
			t.Fatal(o, err)
		}
		o.Mailhost.Conn.Close()
	}
	if _, err := w.Login(t.Context(), password("ann", "secret")); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
	tried := slices.DeleteFunc(slices.Clone(w.Dialed), func(addr string) bool { return addr != "127.0.0.2:143" })
	if lines := strings.Count(w.log.String(), "address=127.0.0.2:143"); len(tried) != 3 || lines != 3 {
		t.Errorf("tried %d times with %d lines, want 3:\n%s", len(tried), lines, w.log)
	}
}

// TestNameServersDoNotAnswer: a login goes to the last address of a mailhost; one for which there is none is
// a temporary failure with host and cause, and no failed login.
func TestNameServersDoNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, imap, "IMAP_PROXY=1", "PROXY_CONNECT_TIMEOUT=5")
		w.auth.Add("bob", "mailhost=known")
		w.auth.Add("ann", "mailhost=other")
		w.Hosts["known"] = []string{"127.0.0.2"}
		w.Servers["127.0.0.2:143"] = logintest.Says(nil)
		w.service.Mailhosts.Health = mailhost.NewHealth(10, time.Hour, time.Now, mailhost.Events{})
		silent := func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		for range 2 {
			o, err := w.Login(t.Context(), password("bob", "secret"))
			if err != nil || o.Mailhost.Addr != "127.0.0.2:143" {
				t.Fatal(o, err)
			}
			o.Mailhost.Conn.Close()
			w.service.Mailhosts.Lookup = silent
		}
		if _, err := w.Login(t.Context(), password("ann", "secret")); !errors.Is(err, ErrTemporary) {
			t.Error(err)
		}
		w.wantLog(t, "WARN: getaddrinfo on proxyhost other failed, address=none, step=resolve, user=ann: timeout")
		time.Sleep(time.Minute) // the look-up behind the second login
	})
}

// TestStopDuringLogin: a login that the end of the program interrupts is no fault of the mailhost: there is
// no line, and the mailhost does not count as one that failed.
func TestStopDuringLogin(t *testing.T) {
	w := newWorld(t, imap, "IMAP_PROXY=1", "LOGIN_FAIL_DELAY=0")
	w.auth.Add("bob", "mailhost=127.0.0.2")
	ctx, stop := context.WithCancel(t.Context())
	w.service.Protocol.Login = func(ctx context.Context, m *mailhost.Conn) error {
		stop()
		<-ctx.Done()
		_, err := m.Conn.Read(make([]byte, 1)) // its deadline is over
		return &mailhost.StepError{Step: mailhost.StepLogin, Err: err}
	}
	w.Servers["127.0.0.2:143"] = logintest.Says(nil)
	if _, err := w.Login(ctx, password("bob", "secret")); !errors.Is(err, ErrEnd) {
		t.Error(err)
	}
	if len(w.attempt.failures) > 0 {
		t.Errorf("failures %v", w.attempt.failures)
	}
	w.wantLog(t)
}

// TestStopDuringQuestion: nor is it a fault of the auth module that was asked at that moment.
func TestStopDuringQuestion(t *testing.T) {
	w := newWorld(t, imap, "LOGIN_FAIL_DELAY=0")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	w.auth.Err = context.Canceled
	if _, err := w.Login(ctx, password("bob", "secret")); !errors.Is(err, ErrEnd) {
		t.Error(err)
	}
	w.wantLog(t)
}

type dialer func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)

// refusing has connections to where nobody listens fail as the kernel does it.
func refusing(dial dialer) dialer {
	return func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
		conn, err := dial(ctx, addr)
		if err != nil {
			err = syscall.ECONNREFUSED
		}
		return conn, err
	}
}
