package frontend

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"mailproxy/internal/local"
	"mailproxy/internal/login"
)

func TestExecLocal(t *testing.T) {
	w := newWorld(t, imap, "A=1", "HOME=/root", "LISTEN_FDS=1", "LISTEN_PID=1", "NOTIFY_SOCKET=/x", "MAILDIR=x",
		"IMAP_TLS=0", "PROTOCOL=x",
		"AUTH_MKHOMEDIR_SKEL=/skel", "LOCAL_ULIMIT_V=1000", "IMAP_UMASK=027", "OPTIONS=old", "AUTHENTICATED=old")
	w.execErr = fmt.Errorf("%w: x", local.ErrProgram)
	account := w.auth.Add("bob", "a=b,c=d")
	err := w.execLocal(t.Context(), account, map[string]string{"IMAPLOGINTAG": "a1", "PROTOCOL": "IMAP"})
	l := w.execed
	if !errors.Is(err, login.ErrTemporary) || l.Path != "/usr/bin/imapd" ||
		!slices.Equal(l.Args, []string{"Maildir"}) || l.Home != "/home/bob" ||
		*l.UID != 1000 || *l.GID != 1001 || l.SystemUser != "" || !l.NonBlocking || l.Skeleton != "/skel" ||
		l.AddressSpace != 1000 || l.Umask != 0o027 {
		t.Errorf("%v, %+v", err, l)
	}
	want := []string{
		"A=1", "AUTHENTICATED=bob", "AUTH_MKHOMEDIR_SKEL=/skel", "IMAPLOGINTAG=a1", "IMAP_TLS=0", "IMAP_UMASK=027",
		"LOCAL_ULIMIT_V=1000",
		"OPTIONS=a=b,c=d", "PROTOCOL=IMAP", "TCPLOCALIP=::ffff:192.0.2.1", "TCPLOCALPORT=143",
		"TCPREMOTEIP=::ffff:192.0.2.7", "TCPREMOTEPORT=5000",
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
	w := newWorld(t, pop3, "UTF8=1")
	w.TLS = true
	account := w.auth.Add("bob", "")
	account.Maildir, account.SystemUser, account.UID = "Mail", "system", nil
	w.execErr = local.ErrRoot
	err := w.execLocal(t.Context(), account, map[string]string{"UTF8": "0"})
	if denied, ok := errors.AsType[*login.DeniedError](err); !ok ||
		*denied != (login.DeniedError{Code: "SYS/PERM"}) {
		t.Error(err)
	}
	l := w.execed
	want := []string{
		"AUTHENTICATED=bob", "OPTIONS=", "POP3_STARTTLS=NO", "POP3_TLS=1", "POP3_TLS_REQUIRED=0",
		"TCPLOCALIP=::ffff:192.0.2.1",
		"TCPLOCALPORT=110", "TCPREMOTEIP=::ffff:192.0.2.7", "TCPREMOTEPORT=5000", "UTF8=0",
	}
	if !slices.Equal(l.Environ, want) || !slices.Equal(l.Args, []string{"Mail"}) || l.SystemUser != "system" ||
		l.NonBlocking || l.Umask != -1 {
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
		{fmt.Errorf("%w: x", local.ErrHome), ErrEndSession,
			"WARN: bob: chdir(/home/bob) failed!!: home directory cannot be entered: x", false},
		{local.ErrNotRoot, login.ErrTemporary,
			"ERR: local account bob: not started as root, so local accounts cannot be served", true},
		{errors.New("x"), login.ErrTemporary, "ERR: local account bob: x", true},
		// This process may be bob by now: it must not serve anybody else.
		{fmt.Errorf("%w: %w", local.ErrChanged, local.ErrProgram), ErrEndSession,
			"ERR: exec(/usr/bin/imapd) failed!!: " + local.ErrChanged.Error() + ": program cannot be run", false},
	} {
		w := newWorld(t, imap)
		w.execErr = test.err
		err := w.execLocal(t.Context(), w.auth.Add("bob", ""), nil)
		if !errors.Is(err, test.want) || (len(w.slept) > 0) != test.delayed {
			t.Errorf("%v: %v, slept %v", test.err, err, w.slept)
		}
		w.wantLog(t, test.log)
	}
}

// A front end without local accounts refuses them, which is not the client's fault.
func TestNoLocal(t *testing.T) {
	w := newWorld(t, imap)
	w.server.Local = nil
	err := w.execLocal(t.Context(), w.auth.Add("bob", ""), nil)
	if denied, ok := errors.AsType[*login.DeniedError](err); !ok || denied.Code != imap.Codes.Broken {
		t.Errorf("%v", err)
	}
	w.wantLog(t, "ERR: local account bob: this process serves many connections and starts no local server: "+
		"PROXY_LOCAL must name a listener that serves one connection a process")
}
