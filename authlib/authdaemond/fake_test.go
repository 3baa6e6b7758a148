package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/maillog"
	"mailproxy/tests/testlog"
)

// fake is a module for tests: the password is the user's name.
type fake struct {
	name string
	// do, if not nil, is called first; its error is the answer.
	do    func(ctx context.Context, user string) error
	users []string
	// options of all users; "" = own=1.
	options string
	closed  chan struct{}
}

func (f *fake) Name() string { return f.name }

func (f *fake) Close() error {
	if f.closed != nil {
		close(f.closed)
	}
	return nil
}

func (f *fake) account(ctx context.Context, user string) (*authlib.Account, error) {
	if f.do != nil {
		if err := f.do(ctx, user); err != nil {
			return nil, err
		}
	}
	for _, u := range f.users {
		if u == user {
			one := uint32(1)
			a := &authlib.Account{Address: user, UID: &one, GID: &one, Home: "/" + f.name, Options: "own=1"}
			if f.options != "" {
				a.Options = authlib.Options(f.options)
			}
			return a, nil
		}
	}
	return nil, authlib.ErrRefused
}

func (f *fake) Authenticate(ctx context.Context, req *authlib.AuthRequest) (*authlib.Account, error) {
	user, _ := req.Login()
	a, err := f.account(ctx, user)
	if err != nil {
		return nil, err
	}
	if req.Type == authlib.AuthLogin && req.Password != user {
		return nil, authlib.ErrRefused
	}
	a.ClearPassword = req.Password
	return a, nil
}

func (f *fake) Lookup(ctx context.Context, req *authlib.LookupRequest) (*authlib.Account, error) {
	return f.account(ctx, req.User)
}

func (f *fake) ChangePassword(ctx context.Context, req *authlib.PasswordRequest) error {
	_, err := f.account(ctx, req.User)
	return err
}

func (f *fake) Enumerate(ctx context.Context, yield func(*authlib.Account) error) error {
	for _, u := range f.users {
		a, err := f.account(ctx, u)
		if err != nil {
			return err
		}
		if err := yield(a); err != nil {
			return err
		}
	}
	return nil
}

// lines is a log.
type lines struct{ testlog.Log }

// fakeAsker asks fakes under the settings of an authdaemonrc.
func fakeAsker(t testing.TB, rc string, fakes ...*fake) (*asker, *lines) {
	t.Helper()
	s, err := parseRC("rc", rc)
	if err != nil {
		t.Fatal(err)
	}
	s.modules = nil
	log := new(lines)
	a := newAsker(s, setup{log: maillog.NewLog(log)}, nil, time.Now)
	for _, f := range fakes {
		a.modules = append(a.modules, &served{f, new(watch)})
	}
	return a, log
}

// started is a server under test.
type started struct {
	*server
	*authlib.Client
	path string
	stop context.CancelFunc
	done chan error
}

// listening makes the daemon's socket in a directory.
func listening(t testing.TB, dir string) *sockets {
	t.Helper()
	s := &sockets{}
	if err := s.listen(dir, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

// start serves a on a socket of its own until the end of the test.
func start(t testing.TB, a *asker, change func(*server)) *started {
	t.Helper()
	// t.TempDir may be longer than the path of a socket can be.
	dir, err := os.MkdirTemp("", "authd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return startIn(t, dir, a, change)
}

// startIn is start in a directory.
func startIn(t testing.TB, dir string, a *asker, change func(*server)) *started {
	t.Helper()
	socks := listening(t, dir)
	s := newServer(a)
	if change != nil {
		change(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	st := &started{server: s, path: filepath.Join(dir, "socket"), stop: cancel, done: make(chan error, 2)}
	st.Client = &authlib.Client{Socket: st.path}
	for l, serve := range map[*net.UnixListener]func(context.Context, *net.UnixListener) error{
		socks.clients[0]: s.serve, socks.persistent[0]: s.servePersistent,
	} {
		go func() {
			err := serve(ctx, l)
			l.Close()
			st.done <- err
		}()
	}
	t.Cleanup(func() {
		cancel()
		for range cap(st.done) {
			if err := <-st.done; err != nil {
				t.Error(err)
			}
		}
		drain, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.drain(drain); err != nil {
			t.Error(err)
		}
	})
	return st
}

// login asks as a front end does and returns home or error on one line.
func (s *started) login(user, password string) string {
	a, err := s.Authenticate(context.Background(), &authlib.AuthRequest{Service: "imap", Type: authlib.AuthLogin,
		User: user, Password: password})
	switch {
	case errors.Is(err, authlib.ErrRefused):
		return "refused"
	case err != nil:
		return "temporary"
	}
	return a.Home + " " + string(a.Options)
}

// dial connects without a word.
func (s *started) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// has waits for a text in the log.
func (l *lines) has(t testing.TB, text string) {
	t.Helper()
	if !testlog.Eventually(func() bool { return strings.Contains(l.String(), text) }) {
		t.Errorf("not in the log: %q; log:\n%s", text, l)
	}
}

// raise makes n the value of most, unless that is greater already.
func raise(most *atomic.Int64, n int64) {
	for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
	}
}
