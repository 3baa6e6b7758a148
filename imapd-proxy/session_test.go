package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
	"mailproxy/internal/frontend"
	"mailproxy/internal/inetd"
)

// session is one client's session with fakes around it: the auth module, the local server, the mailhosts.
type session struct {
	conn   inetd.Conn // the client's end
	served chan int   // the exit status; -1 when the process would have become the local server
	stop   context.CancelFunc
	log    *logBuffer
}

// logBuffer is a log that a test may read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// options change a session.
type options struct {
	settings map[string]string
	// mailhost plays the account's server; nil = echoMailhost.
	mailhost func(conn inetd.Conn)
	// sleep is waited in place of the delay after a failed login.
	sleep time.Duration
}

// begin starts a session. Times that fail logins take are not waited for.
func begin(t testing.TB, o options) *session {
	t.Helper()
	ours, theirs := socketpair(t)
	theirs.SetDeadline(time.Now().Add(20 * time.Second))
	settings := inetd.Settings{"IMAP_PROXY": "1", "TLS_EXTERNAL": "emailaddress"}
	for name, value := range o.settings {
		settings[name] = value
	}
	p := protocol()
	config, err := frontend.NewConfig(settings, p)
	if err != nil {
		t.Fatal(err)
	}
	log := &logBuffer{}
	s := &frontend.Session{
		Conn: ours, Settings: settings, Config: config, Log: inetd.NewLog(log), Protocol: p,
		Peer: inetd.Peer{RemoteIP: "::ffff:192.0.2.7", RemotePort: "4711", LocalIP: "::ffff:192.0.2.1", LocalPort: "143"},
		Auth: fakeAuth{}, Args: []string{"/usr/bin/imapd", "Maildir"},
		System: fakeSystem(t, o),
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := &session{conn: theirs, served: make(chan int, 1), stop: cancel, log: log}
	t.Cleanup(cancel)
	end := s.Begin(ctx)
	if err := s.BeginTLS(ctx); err != nil {
		t.Fatal(err)
	}
	go func() {
		status := -1
		defer func() {
			end()
			ours.Close()
			result.served <- status
		}()
		status = serve(ctx, s)
	}()
	return result
}

// wait returns the exit status.
func (s *session) wait(t testing.TB) int {
	t.Helper()
	select {
	case status := <-s.served:
		return status
	case <-time.After(20 * time.Second):
		t.Fatal("the session does not end")
		return 0
	}
}

// fakeAuth knows ann (here), bob (on a mailhost), carl (in trouble at the auth module), dora (may not use IMAP), eve (on a
// mailhost, password not known in clear).
type fakeAuth struct{}

var accounts = map[string]struct{ password, options string }{
	"ann":  {"sec ret", ""},
	"bob":  {"geheim", "mailhost=192.0.2.99"},
	"dora": {"x", "disableimap=1"},
	"eve":  {"x", "mailhost=192.0.2.99"},
}

func (fakeAuth) Authenticate(_ context.Context, r *authlib.AuthRequest) (*authlib.Account, error) {
	user := r.User
	if r.Type != authlib.AuthLogin {
		user, _, _ = strings.Cut(string(r.Response), " ")
	}
	if user == "carl" {
		return nil, errors.New("database down")
	}
	account, ok := accounts[user]
	good := r.Password == account.password
	if r.Type != authlib.AuthLogin {
		good = password.VerifyCRAM(account.password, r.Type, r.Challenge, r.Response)
	}
	if !ok || !good || r.Service != "imap" || r.RemoteIP != "::ffff:192.0.2.7" {
		return nil, authlib.ErrRefused
	}
	return fakeAccount(user), nil
}

func (fakeAuth) Lookup(_ context.Context, r *authlib.LookupRequest) (*authlib.Account, error) {
	if _, ok := accounts[r.User]; !ok {
		return nil, authlib.ErrRefused
	}
	return fakeAccount(r.User), nil
}

func fakeAccount(user string) *authlib.Account {
	uid, gid := uint32(1000), uint32(1000)
	a := &authlib.Account{
		UID: &uid, GID: &gid, Home: "/home/" + user, Address: user,
		ClearPassword: accounts[user].password, Options: authlib.Options(accounts[user].options),
	}
	if user == "eve" {
		a.ClearPassword = ""
	}
	return a
}

func fakeSystem(t testing.TB, o options) *frontend.System {
	mailhost := o.mailhost
	if mailhost == nil {
		mailhost = echoMailhost
	}
	return &frontend.System{
		Now:      time.Now,
		Sleep:    func(context.Context, time.Duration) { time.Sleep(o.sleep) },
		Hostname: func() (string, error) { return "proxy.example", nil },
		Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
			ours, theirs := socketpair(t)
			go func() {
				defer theirs.Close()
				mailhost(theirs)
			}()
			return ours, nil
		},
		DropRoot: func(string) error { return nil },
		// Like the real one it does not come back: the dialogue's goroutine ends here.
		Exec: func(conn inetd.Conn, l *inetd.Local) error {
			fmt.Fprintf(conn, "* local server %s %s, home %s, tag %s\r\n", l.Path, strings.Join(l.Args, " "), l.Home, imapTag(l.Environ))
			echo(conn)
			runtime.Goexit()
			return nil
		},
	}
}

func imapTag(environ []string) string {
	for _, entry := range environ {
		if tag, ok := strings.CutPrefix(entry, "IMAPLOGINTAG="); ok {
			return tag
		}
	}
	return ""
}

// echoMailhost takes bob's password and then repeats what it reads.
func echoMailhost(conn inetd.Conn) {
	in := bufio.NewReader(conn)
	io.WriteString(conn, "* OK ready\r\n")
	text, err := in.ReadString('\n')
	tag, args, _ := strings.Cut(text, " ")
	switch {
	case err != nil:
	case args == "LOGIN \"bob\" \"geheim\"\r\n":
		io.WriteString(conn, tag+" OK logged in\r\n")
		io.Copy(conn, in)
		io.WriteString(conn, "* the end\r\n")
	default:
		io.WriteString(conn, tag+" NO secret words\r\n")
		io.Copy(io.Discard, in)
	}
}

// echo repeats what it reads until the client is done.
func echo(conn inetd.Conn) {
	_, _ = io.Copy(conn, conn)
	_, _ = io.WriteString(conn, "* the end\r\n")
	_ = conn.CloseWrite()
}
