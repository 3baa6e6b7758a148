package frontend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/local"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
)

// The signal ends a read that has begun, and every later one; farewells can still be written.
func TestInterrupt(t *testing.T) {
	w := newWorld(t, imap)
	ctx, cancel := context.WithCancel(t.Context())
	w.ctx = ctx
	defer w.begin()()
	time.AfterFunc(30*time.Millisecond, cancel)
	_, err := w.Client.Read(make([]byte, 1))
	if w.Why(ctx, err) != login.EndShutdown {
		t.Errorf("%v", err)
	}
	// STARTTLS at that very moment.
	client, conn := tcpPair(t)
	w.encrypted(conn)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || !w.TLS {
		t.Errorf("after STARTTLS: %v", err)
	}
	w.Farewell("* BYE\r\n")
	conn.Close()
	if text, err := io.ReadAll(client); string(text) != "* BYE\r\n" || err != nil {
		t.Errorf("farewell %q, %v", text, err)
	}
}

func TestLoginTimeLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imap, "LOGIN_TIMEOUT=1")
	start := time.Now()
	_, err := w.Client.Read(make([]byte, 1))
	if d := time.Since(start); w.Why(t.Context(), err) != login.EndTimeout || d > 10*time.Second {
		t.Errorf("%v after %v", err, d)
	}
	w.Farewell("late\r\n")
	w.Client.Close()
	if text, err := io.ReadAll(w.client); string(text) != "late\r\n" || err != nil {
		t.Errorf("farewell %q, %v", text, err)
	}
}

func TestWhyClosed(t *testing.T) {
	w := newWorld(t, imap)
	w.client.Close()
	_, err := w.Client.Read(make([]byte, 1))
	if w.Why(t.Context(), err) != login.EndClosed {
		t.Errorf("%v", err)
	}
}

// A login that has ended the session did so by the time limit, or by a signal.
func TestWhyLoginEnds(t *testing.T) {
	w := newWorld(t, imap)
	if why := w.Why(t.Context(), login.ErrEnd); why != login.EndTimeout {
		t.Errorf("%v", why)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if why := w.Why(ctx, login.ErrEnd); why != login.EndShutdown {
		t.Errorf("%v", why)
	}
}

// After the login nothing of its limits is left: not on the time, and not on the log.
func TestRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imap, "LOGIN_TIMEOUT=1")
	for range 1000 {
		w.Log.Infof("noise %s", strings.Repeat("x", 100))
	}
	w.release()
	w.Log.Infof("afterwards")
	if !strings.HasSuffix(w.log.String(), "INFO: afterwards\n") {
		t.Error("the limit of the log goes on after the login")
	}
	time.AfterFunc(1200*time.Millisecond, func() { w.Client.Close() })
	if _, err := w.Client.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a deadline was left behind")
	}
}

// A client that takes nothing does not hold the process.
func TestFarewellStuck(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imap)
	start := time.Now()
	w.Farewell(strings.Repeat("x", 64<<20))
	if d := time.Since(start); d < 900*time.Millisecond || d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}

// Both directions, what was pipelined, half-close, and the line at the end.
func TestRelay(t *testing.T) {
	w := newWorld(t, imap, "RELAY_SOCKET=/nonexistent", "PROXY_USER=someone")
	server, conn := tcpPair(t)
	outcome := &login.Outcome{Account: &authlib.Account{Address: "bob"}, Mailhost: &mailhost.Conn{Host: "a", Conn: conn}}
	io.WriteString(w.client, "a2 NOOP\r\n")
	io.WriteString(server, "* 1 EXISTS\r\n")
	done := make(chan error)
	go func() { done <- w.Relay(t.Context(), outcome, "a1 OK\r\n") }()
	w.client.(interface{ CloseWrite() error }).CloseWrite()
	if text, err := io.ReadAll(server); string(text) != "a2 NOOP\r\n" || err != nil {
		t.Errorf("mailhost got %q, %v", text, err)
	}
	io.WriteString(server, "a2 OK\r\n")
	server.CloseWrite()
	if text, err := io.ReadAll(w.client); string(text) != "a1 OK\r\n* 1 EXISTS\r\na2 OK\r\n" || err != nil {
		t.Errorf("client got %q, %v", text, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if status := w.carrier.Wait(t.Context()); status != 0 {
		t.Errorf("status %d", status)
	}
	if !slices.Equal(w.dropped, []string{"someone"}) {
		t.Errorf("dropped %v", w.dropped)
	}
	w.wantLog(t, "INFO: LOGIN, user=bob, "+from+", protocol=IMAP",
		"INFO: LOGOUT, user=bob, "+from+", mailhost=a, rcvd=9, sent=19, time=0, protocol=IMAP")
}

// Nothing is relayed with root rights: a client that cannot be served without them is told to come back
// later.
func TestRelayDropRootFails(t *testing.T) {
	w := newWorld(t, imap)
	server, conn := tcpPair(t)
	w.server.DropRoot = func(string) error { return syscall.EPERM }
	outcome := &login.Outcome{Account: &authlib.Account{Address: "bob"}, Mailhost: &mailhost.Conn{Host: "a", Conn: conn}}
	if err := w.Relay(t.Context(), outcome, "a1 OK\r\n"); !errors.Is(err, login.ErrTemporary) || len(w.slept) != 1 {
		t.Errorf("%v, slept %v", err, w.slept)
	}
	if text, err := io.ReadAll(server); len(text) != 0 || err != nil {
		t.Errorf("mailhost got %q, %v", text, err)
	}
	w.Farewell("a1 NO\r\n") // the client has been told nothing, and can be
	w.Client.Close()
	if text, err := io.ReadAll(w.client); string(text) != "a1 NO\r\n" || err != nil {
		t.Errorf("client got %q, %v", text, err)
	}
	w.wantLog(t, "ERR: giving up root rights: operation not permitted")
}

// A session that is cut off is told from one that has ended.
func TestRelayBroken(t *testing.T) {
	w := newWorld(t, imap)
	server, conn := tcpPair(t)
	outcome := &login.Outcome{Account: &authlib.Account{Address: "bob"}, Mailhost: &mailhost.Conn{Host: "a", Conn: conn}}
	go func() {
		_, _ = io.ReadFull(w.client, make([]byte, 7))
		server.SetLinger(0)
		server.Close()
	}()
	if err := w.Relay(t.Context(), outcome, "a1 OK\r\n"); err != nil {
		t.Error(err)
	}
	if status := w.carrier.Wait(t.Context()); status != 1 || !strings.Contains(w.log.String(), "session broken off, "+from) {
		t.Errorf("status %d, log %s", status, w.log)
	}
}

func TestExecLocal(t *testing.T) {
	w := newWorld(t, imap, "A=1", "HOME=/root", "LISTEN_FDS=1", "LISTEN_PID=1", "NOTIFY_SOCKET=/x", "MAILDIR=x", "IMAP_TLS=0",
		"AUTH_MKHOMEDIR_SKEL=/skel", "LOCAL_ULIMIT_V=1000", "IMAP_UMASK=027", "OPTIONS=old", "AUTHENTICATED=old")
	w.execErr = fmt.Errorf("%w: x", local.ErrProgram)
	account := w.auth.Add("bob", "a=b,c=d")
	err := w.ExecLocal(&login.Outcome{Account: account}, "a1", "UTF8=1")
	l := w.execed
	if !errors.Is(err, login.ErrTemporary) || l.Path != "/usr/bin/imapd" || !slices.Equal(l.Args, []string{"Maildir"}) || l.Home != "/home/bob" ||
		*l.UID != 1000 || *l.GID != 1001 || l.SystemUser != "" || !l.NonBlocking || l.Skeleton != "/skel" || l.AddressSpace != 1000 || l.Umask != 0o027 {
		t.Errorf("%v, %+v", err, l)
	}
	want := []string{
		"A=1", "AUTHENTICATED=bob", "AUTH_MKHOMEDIR_SKEL=/skel", "IMAPLOGINTAG=a1", "IMAP_TLS=0", "IMAP_UMASK=027", "LOCAL_ULIMIT_V=1000",
		"OPTIONS=a=b,c=d", "PROTOCOL=IMAP", "TCPLOCALIP=::ffff:192.0.2.1", "TCPLOCALPORT=143", "TCPREMOTEIP=::ffff:192.0.2.7", "TCPREMOTEPORT=5000", "UTF8=1",
	}
	if !slices.Equal(l.Environ, want) {
		t.Errorf("environment\ngot  %q\nwant %q", l.Environ, want)
	}
	w.wantLog(t, "ERR: exec(/usr/bin/imapd) failed!!: program cannot be run: x")
	if !slices.Equal(w.slept, []time.Duration{5 * time.Second}) {
		t.Errorf("slept %v", w.slept)
	}
}

func TestExecLocalPOP3(t *testing.T) {
	w := newWorld(t, pop3)
	w.TLS = true
	account := w.auth.Add("bob", "")
	account.Maildir, account.SystemUser, account.UID = "Mail", "system", nil
	w.execErr = local.ErrRoot
	err := w.ExecLocal(&login.Outcome{Account: account}, "", "UTF8=0")
	if denied, ok := errors.AsType[*login.DeniedError](err); !ok || *denied != (login.DeniedError{Code: "SYS/PERM"}) {
		t.Error(err)
	}
	l := w.execed
	want := []string{
		"AUTHENTICATED=bob", "OPTIONS=", "POP3_STARTTLS=NO", "POP3_TLS=1", "POP3_TLS_REQUIRED=0", "TCPLOCALIP=::ffff:192.0.2.1",
		"TCPLOCALPORT=110", "TCPREMOTEIP=::ffff:192.0.2.7", "TCPREMOTEPORT=5000", "UTF8=0",
	}
	if !slices.Equal(l.Environ, want) || !slices.Equal(l.Args, []string{"Mail"}) || l.SystemUser != "system" || l.NonBlocking || l.Umask != -1 {
		t.Errorf("%+v", l)
	}
	w.wantLog(t, "ERR: local account bob: the account belongs to root")
}

func TestExecLocalErrors(t *testing.T) {
	for _, test := range []struct {
		err, want error
		log       string
		delayed   bool
	}{
		{fmt.Errorf("%w: x", local.ErrHome), ErrHome, "WARN: bob: chdir(/home/bob) failed!!: home directory cannot be entered: x", false},
		{local.ErrNotRoot, login.ErrTemporary, "ERR: local account bob: not started as root, so local accounts cannot be served", true},
		{errors.New("x"), login.ErrTemporary, "ERR: local account bob: x", true},
		// This process may be bob by now: it must not serve anybody else.
		{fmt.Errorf("%w: %w", local.ErrChanged, local.ErrProgram), ErrHome,
			"ERR: exec(/usr/bin/imapd) failed!!: " + local.ErrChanged.Error() + ": program cannot be run", false},
	} {
		w := newWorld(t, imap)
		w.execErr = test.err
		err := w.ExecLocal(&login.Outcome{Account: w.auth.Add("bob", "")}, "a1")
		if !errors.Is(err, test.want) || (len(w.slept) > 0) != test.delayed {
			t.Errorf("%v: %v, slept %v", test.err, err, w.slept)
		}
		w.wantLog(t, test.log)
	}
}
