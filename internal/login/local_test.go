package login

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailproxy/authlib/sasl"
	"mailproxy/internal/config"
	"mailproxy/internal/mailhost"
	"mailproxy/tests/logintest"
)

// An account that is here is logged in to at PROXY_LOCAL, as itself, where the program has such an address.
func TestReachLocal(t *testing.T) {
	const here = "127.0.0.5:1143"
	external := bySASL(sasl.Credentials{Mechanism: "EXTERNAL", External: true, User: "bob"})
	inUse := Answer{Code: "INUSE", Text: "a1 NO"}
	full := logintest.Says(&RejectedError{Step: mailhost.StepLogin, Answer: inUse})
	for _, test := range []struct {
		name     string
		local    string // PROXY_LOCAL
		option   string
		c        *Credentials
		stored   string // the account's password
		server   mailhost.Login
		want     error
		password string // that the program there is told; empty = nothing
		log      []string
	}{
		{"no mailhost", here, "", password("bob", "secret"), "secret", logintest.Says(nil), nil, "secret",
			nil}, // the program there writes the warning
		{"this host", here, "mailhost=proxy.example.com", password("bob", "secret"), "secret",
			logintest.Says(nil), nil, "secret", nil},
		{"no address", "", "mailhost=proxy.example.com", password("bob", "secret"), "secret", nil, nil, "", nil},
		{"a certificate", here, "mailhost=proxy.example.com", external, "stored", logintest.Says(nil), nil,
			"stored", nil},
		{"nothing is stored", here, "mailhost=proxy.example.com", external, "", nil,
			&DeniedError{Code: "CONTACTADMIN"}, "", []string{
				"WARN: proxy enabled, but no password for bob: PROXY_LOCAL needs it in clear"}},
		{"two lines are stored", here, "mailhost=proxy.example.com", external, "a\nb", nil, ErrTemporary, "",
			[]string{"WARN: account bob cannot be proxied: control character in its address or password"}},
		{"refused", here, "mailhost=proxy.example.com", password("bob", "secret"), "secret", full,
			&DeniedError{Code: "INUSE"}, "secret", []string{"WARN: Login to local failed, address=" + here +
				", step=login, user=bob: the mailhost takes no further login now: a1 NO"}},
		{"a loop", "192.0.2.1:143", "mailhost=proxy.example.com", password("bob", "secret"), "secret", nil,
			ErrTemporary, "", []string{"ERR: local account bob: PROXY_LOCAL is the address and port " +
				"that the client is connected to"}},
	} {
		w := newWorld(t, imap,
			"IMAP_PROXY=1", "PROXY_MASTER_USER=master", "PROXY_MASTER_PASSWORD_FILE=/nonexistent")
		if test.local != "" {
			w.service.Local = config.Place{Addr: netip.MustParseAddrPort(test.local)}
		}
		w.auth.Add("bob", test.option).ClearPassword = test.stored
		var told *mailhost.Conn
		w.Servers[here] = func(ctx context.Context, m *mailhost.Conn) error {
			told = m
			return test.server(ctx, m)
		}
		test.c.Tag = "a1"
		o, err := w.Login(t.Context(), test.c)
		if !sameError(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if err == nil && (o.Mailhost != nil) != (test.local != "") {
			t.Errorf("%s: the account is at %+v", test.name, o.Mailhost)
		}
		switch {
		case test.password == "" && len(w.Dialed) > 0:
			t.Errorf("%s: dialed %q", test.name, w.Dialed)
		case test.password != "" && (told == nil || !slices.Equal(w.Dialed, []string{here})):
			t.Errorf("%s: dialed %q", test.name, w.Dialed)
		case test.password != "" && (told.User != "bob" || told.Password != test.password || told.Authzid != "" ||
			!told.Local || told.Tag != "a1"):
			t.Errorf("%s: the local program is told %+v", test.name, told)
		}
		w.wantLog(t, test.log...)
	}
}

// What was typed goes to PROXY_LOCAL, which asks the same database; not what the database has stored.
func TestReachLocalAsTyped(t *testing.T) {
	w := newWorld(t, pop3, "DEFDOMAIN=@example.com")
	w.service.Local = config.Place{Addr: netip.MustParseAddrPort("127.0.0.5:1110")}
	w.auth.Add("bob@example.com", "").Address = "mailbox-17"
	var told mailhost.Conn
	w.Servers["127.0.0.5:1110"] = func(_ context.Context, m *mailhost.Conn) error { told = *m; return nil }
	_, err := w.Login(t.Context(), password("bob", "secret"))
	if err != nil || told.User != "bob" || told.Password != "secret" {
		t.Errorf("%v, told %+v", err, told)
	}
}

// PROXY_LOCAL has slots for logins as mailhosts have, but is never left out: the administrator who has
// started it again gets in at once, and each login that does not has its line.
func TestLocalIsNeverDown(t *testing.T) {
	const here = "127.0.0.5:1143"
	w := newWorld(t, imap, "IMAP_PROXY=1")
	w.service.Local = config.Place{Addr: netip.MustParseAddrPort(here)}
	w.service.Mailhosts.Health = mailhost.NewHealth(1, time.Hour, time.Now, mailhost.Events{
		Down: func(m mailhost.Mailhost, err error) { t.Errorf("%v is down: %v", m, err) },
	})
	w.service.Mailhosts.Dial = refusing(w.service.Mailhosts.Dial)
	w.auth.Add("bob", "")
	const tried = 5
	for range tried {
		if _, err := w.Login(t.Context(), password("bob", "secret")); !errors.Is(err, ErrTemporary) {
			t.Error(err)
		}
	}
	if lines := strings.Count(w.log.String(), "address="+here+", step=connect"); lines != tried {
		t.Errorf("%d lines for %d logins:\n%s", lines, tried, w.log)
	}
	w.Servers[here] = logintest.Says(nil)
	if _, err := w.Login(t.Context(), password("bob", "secret")); err != nil {
		t.Error(err)
	}
}

// PROXY_LOCAL may be a unix socket, at which root listens or this process's own user.
func TestReachLocalSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "local")
	w := newWorld(t, imap, "PROXY_LOCAL="+path)
	w.service.Local = w.Config.Local
	w.auth.Add("bob", "")
	if _, err := w.Login(t.Context(), password("bob", "secret")); !errors.Is(err, ErrTemporary) {
		t.Errorf("nobody listens: %v", err)
	}
	w.wantLog(t, "WARN: Connection to proxyhost local failed, address="+path+", step=connect, user=bob: "+
		"connect: no such file "+
		"or directory")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var told mailhost.Conn
	w.Servers[path] = func(_ context.Context, m *mailhost.Conn) error { told = *m; return nil }
	o, err := w.Login(t.Context(), password("bob", "secret"))
	if err != nil || o.Mailhost == nil || told.Password != "secret" || len(w.Dialed) > 0 {
		t.Fatalf("%v, %+v, told %+v, dialed %q", err, o, told, w.Dialed)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	header := make([]byte, 12)
	if _, err := io.ReadFull(conn, header); err != nil || string(header) != "\r\n\r\n\x00\r\nQUIT\n" {
		t.Errorf("%q, %v", header, err)
	}
}
